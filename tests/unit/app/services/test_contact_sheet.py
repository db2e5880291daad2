"""Contact sheets: all candidates of all cells, below the prompt and the references, drawn by the real child process."""

import asyncio
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from app.services.comparisons.contact_sheet import ContactSheets
from app.storage.blob_calls import BlobCalls
from tests.support.pictures import encoded
from workers.contract.blobs import BlobStore, input_name, open_blobs
from workers.contract.jobs.comparisons import Cell, Comparison
from workers.contract.jobs.models import Image as JobImage
from workers.contract.jobs.models import Job, Result, State, StylizeRequest
from workers.contract.runtime.settings import Settings

STYLE, CONTENT = "a" * 64, "b" * 64
COLORS = ("red", "lime", "blue", "yellow")
RGB = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "grey": (128, 128, 128)}
RGB |= {"white": (255, 255, 255)}


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    store = open_blobs(Settings(blob_url=f"file:{tmp_path}"))
    for sha256 in (STYLE, CONTENT):
        store.put(input_name(sha256), encoded(Image.new("RGB", (20, 20), "purple")), content_type="image/png")
    return store


def cell(blobs: BlobStore, method: str, seed: int, colors: tuple[str, ...], strength: float = 1) -> tuple[Cell, Job]:
    job_id = f"{method}-{seed}-{strength}".replace(".", "_")
    images = []
    for n, color in enumerate(colors):
        name = f"jobs/{job_id}/1/{n}.png"
        blobs.put(name, encoded(Image.new("RGB", (32, 16), color)), content_type="image/png")
        images.append(
            JobImage(blob=name, width=32, height=16, content_type="image/png", sha256="c" * 64, seed=seed + n)
        )
    request = StylizeRequest(
        **{"method": method, "model": "starter", "prompt": "a house", "seed": seed, "width": 64, "height": 64},
        **{"steps": 1, "guidance_scale": 1, "strength": strength, "style_images": (STYLE,), "content_image": CONTENT},
    )
    state = State.SUCCEEDED if images else State.FAILED
    result = Result(images=tuple(images)) if images else None
    job = Job(
        id=job_id, owner="ann", queue="starter", request=request, digest="d" * 64, token=1, state=state, result=result
    )
    return Cell(job_id=job_id, label=f"{method} {seed}", method=method, seed=seed, strength=strength), job


def drawn(blobs: BlobStore, cells: list[tuple[Cell, Job | None]], prompt: str = "") -> Image.Image:
    comparison = Comparison(
        id="c",
        owner="ann",
        digest="e" * 64,
        prompt=prompt,
        cells=tuple(c for c, _ in cells),
        created_at=datetime.now(UTC),
    )

    async def write() -> None:
        calls = BlobCalls(seconds=60)
        await ContactSheets(blobs, calls).write("jobs/x/1/sheet-a.png", comparison, [job for _, job in cells])
        calls.close()

    asyncio.run(write())
    return Image.open(BytesIO(blobs.get("jobs/x/1/sheet-a.png"))).convert("RGB")


def colors(sheet: Image.Image, columns: int, rows: int, side: int = 256) -> list[list[str]]:
    """Return what is in the middle of each tile, seen from the sheet's end."""
    names = {rgb: name for name, rgb in RGB.items()}
    top = sheet.height - rows * (side + 24)
    middles = [[(c * side + side // 2, top + r * (side + 24) + side // 2) for c in range(columns)] for r in range(rows)]
    return [[names[sheet.getpixel(at)] for at in row] for row in middles]  # type: ignore[index]


def test_a_row_has_all_pictures_of_a_methods_seeds(blobs: BlobStore) -> None:
    cells = [
        cell(blobs, "ip-adapter", 1, ("red", "lime")),
        cell(blobs, "ip-adapter", 2, ("blue",)),
        cell(blobs, "style-id", 1, ()),
        cell(blobs, "style-id", 2, ("yellow", "red")),
    ]
    sheet = drawn(blobs, cells)
    assert sheet.width == 4 * 256
    assert colors(sheet, 4, 2) == [["red", "lime", "blue", "white"], ["grey", "white", "yellow", "red"]]
    middle = (3 * 256 + 128, sheet.height - 280 + 30)
    assert sheet.getpixel(middle) == RGB["white"], "a picture twice as wide as high keeps its proportions"


def test_with_one_seed_a_row_has_a_methods_strengths(blobs: BlobStore) -> None:
    cells = [
        cell(blobs, method, 1, (COLORS[n],), strength)
        for method in ("ip-adapter", "style-id")
        for n, strength in enumerate((0.25, 0.5, 1))
    ]
    assert colors(drawn(blobs, cells), 3, 2) == [["red", "lime", "blue"]] * 2


def test_prompt_and_references_stand_above_and_what_is_gone_is_grey(blobs: BlobStore) -> None:
    first = cell(blobs, "ip-adapter", 1, ("red",))
    gone, _ = cell(blobs, "style-id", 1, ("lime",))
    short, long = (drawn(blobs, [first, (gone, None)], prompt) for prompt in ("a house", "a house of words " * 100))
    assert colors(short, 2, 1) == [["red", "grey"]]
    assert short.height == 280 + 22 + 152 + 16
    assert [short.getpixel((x, 100)) for x in (72, 208, 344)] == [(128, 0, 128), (128, 0, 128), RGB["white"]]
    assert long.height == short.height + 3 * 22, "a long prompt is cut after four lines"
    blobs.delete([input_name(STYLE)])
    assert drawn(blobs, [first, (gone, None)], "a house").getpixel((72, 100)) == RGB["grey"]


def test_very_many_pictures_are_small(blobs: BlobStore) -> None:
    cells = [cell(blobs, "ip-adapter", seed, ("blue",)) for seed in range(65)]
    sheet = drawn(blobs, cells)
    assert sheet.width == 16 * 128
    assert colors(sheet, 16, 5, side=128)[0] == ["blue"] * 16
