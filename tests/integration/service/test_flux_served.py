"""The methods of FLUX through the real service, by name: pictures, and what is refused in words."""

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.support.pictures import encoded, picture
from tests.support.service import Service, quick, service
from tests.support.tiny.flux_store import BASES, install_flux_models

pytestmark = pytest.mark.xdist_group("service")
SIDE = (64, 64)
STYLE, CONTENT = encoded(picture(size=SIDE)), encoded(picture(size=SIDE, seed=1))
SMALL = encoded(picture(size=(32, 32), seed=2))
LONG = encoded(picture(size=(640, 64), seed=3))


def mask(size: tuple[int, int] = SIDE, white: int = 255) -> bytes:
    """A mask whose right half is repainted."""
    made = Image.new("L", size)
    made.paste(white, (size[0] // 2, 0, *size))
    return encoded(made)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    store = install_flux_models(tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("made"))
    models = ",".join(f"tiny-{base}" for base in BASES)
    with service(store, environ={"STYLIZE_MODELS": models}) as running:
        yield running


def post(served: Service, method: str, base: str, files: list[tuple[str, bytes]], **fields: Any) -> httpx2.Response:
    params = json.dumps(fields.pop("params", {}))
    data = quick(method=method, model=f"tiny-{base}", params=params, **fields)
    return served.client.post("/stylize", data=data, files=[(name, (f"{name}.png", one)) for name, one in files])


STYLES = [("style_image", STYLE)]
PAINTED = [("content_image", CONTENT), ("mask_image", mask())]
GOOD: list[tuple[str, str, list[tuple[str, bytes]], dict[str, Any]]] = [
    ("redux", "flux", STYLES, {}),
    ("redux", "flux", [*STYLES, ("style_image", SMALL), ("content_image", CONTENT)], {"params": {"combine": "blend"}}),
    ("redux", "flux", [*STYLES, ("control_image", CONTENT)], {"params": {"control": "canny"}}),
    ("redux", "flux-control", [*STYLES, ("control_image", CONTENT)], {"params": {"control_source": "canny"}}),
    ("redux", "flux-schnell", STYLES, {}),
    ("fill", "flux-fill", PAINTED, {}),
    ("fill", "flux-fill", [("content_image", SMALL)], {"params": {"left": 16, "top": 16}}),
    ("redux-fill", "flux-fill", STYLES, {}),
    ("redux-fill", "flux-fill", [*STYLES, *PAINTED], {"params": {"layout": "tokens"}}),
    ("flux2-edit", "flux2-klein", STYLES, {}),
    ("flux2-edit", "flux2-klein", [*STYLES * 2, ("content_image", CONTENT)], {"params": {"template": "{prompt}!"}}),
    ("flux2-edit", "flux2-klein", STYLES, {"strength": 0.5, "params": {"reference_keys": "cached"}}),
]


def test_every_method_makes_a_picture_by_name(served: Service) -> None:
    accepted = [post(served, *asked, **fields) for *asked, fields in GOOD]
    assert [answer.status_code for answer in accepted] == [202] * len(GOOD), [one.text for one in accepted]
    for answer in accepted:
        job = served.finished(answer.json()["id"])
        assert job["state"] == "succeeded", job
        drawn = served.client.get(job["images"][0]["url"]).raise_for_status()
        assert Image.open(BytesIO(drawn.content)).size == SIDE


def test_a_mask_stays_with_its_job_and_comes_back_with_the_recipe(served: Service) -> None:
    first = served.finished(post(served, "fill", "flux-fill", PAINTED).json()["id"])
    sha256 = first["recipe"]["mask_image"]
    stored = Image.open(BytesIO(served.client.get(f"/inputs/{sha256}").raise_for_status().content))
    assert (stored.mode, stored.getpixel((0, 0)), stored.getpixel((63, 0))) == ("L", 0, 255)
    again = served.client.post("/stylize", json={"recipe": first["recipe"]}).raise_for_status().json()
    assert served.finished(again["id"])["images"][0]["sha256"] == first["images"][0]["sha256"]
    kept = Image.open(BytesIO(served.client.get(first["images"][0]["url"]).content)).convert("RGB")
    content = Image.open(BytesIO(CONTENT)).convert("RGB")
    assert kept.crop((0, 0, 28, 64)).tobytes() == content.crop((0, 0, 28, 64)).tobytes()


def test_the_map_that_a_job_made_is_shown_and_makes_the_same_picture(served: Service) -> None:
    made, given = {"control_source": "canny"}, {"control": "canny"}
    files = [*STYLES, ("control_image", CONTENT)]
    first = served.finished(post(served, "redux", "flux-control", files, params=made).json()["id"])
    shown = served.client.get(first["control_map"]["url"]).raise_for_status()
    assert hashlib.sha256(shown.content).hexdigest() == first["control_map"]["sha256"]
    assert Image.open(BytesIO(shown.content)).size == SIDE
    files[-1] = ("control_image", shown.content)
    second = served.finished(post(served, "redux", "flux-control", files, params=given).json()["id"])
    pixels = [Image.open(BytesIO(served.client.get(job["images"][0]["url"]).content)) for job in (first, second)]
    assert pixels[0].tobytes() == pixels[1].tobytes()
    assert second["control_map"] is None
    assert served.client.get(f"/jobs/{second['id']}/control-map").status_code == httpx2.codes.NOT_FOUND


def test_openais_clients_paint_what_is_transparent_in_their_mask(served: Service) -> None:
    hole = Image.new("RGBA", SIDE, "white")
    hole.paste((0, 0, 0, 0), (32, 0, *SIDE))
    files = {"image": ("a.png", CONTENT), "mask": ("m.png", encoded(hole))}
    fields = {"prompt": "a house", "model": "tiny-flux-fill", "size": "64x64", "steps": "2", "response_format": "url"}
    drawn = served.client.post("/v1/images/edits", data=fields, files=files).raise_for_status().json()
    job = served.job(drawn["data"][0]["url"].split("/jobs/")[1].split("/")[0])
    assert (job["method"], bool(job["recipe"]["content_image"])) == ("fill", True)
    stored = Image.open(BytesIO(served.client.get(f"/inputs/{job['recipe']['mask_image']}").content))
    assert (stored.getpixel((0, 0)), stored.getpixel((63, 0))) == (0, 255)
    files["mask"] = ("m.png", encoded(hole.resize((32, 32))))
    refused = served.client.post("/v1/images/edits", data=fields, files=files)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "mask")


def test_a_comparison_takes_a_mask(served: Service) -> None:
    fields = quick(method="redux-fill", model="tiny-flux-fill", strength="0.5,1")
    sent = [(name, (f"{name}.png", one)) for name, one in [*STYLES, *PAINTED]]
    made = served.client.post("/comparisons", data=fields, files=sent).raise_for_status().json()
    assert len({cell["job"]["recipe"]["mask_image"] for cell in made["cells"]} - {None}) == 1
    for cell in made["cells"]:
        assert served.finished(cell["job"]["id"])["state"] == "succeeded"
    sent[-1] = ("mask_image", ("m.png", mask((64, 48))))
    refused = served.client.post("/comparisons", data=fields, files=sent)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/mask_image"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("style_image", SMALL)], "style_image must be at least 64 pixels wide and high, not 32x32"),
        ([*STYLES, ("content_image", LONG)], "content_image must be at most 8 times as long as wide, not 640x64"),
    ],
)
def test_a_picture_that_flux2_was_not_made_for_is_told_by_its_field(
    served: Service, files: list[tuple[str, bytes]], words: str
) -> None:
    job = served.finished(post(served, "flux2-edit", "flux2-klein", files).raise_for_status().json()["id"])
    assert words in job["error"]["detail"], job


BAD: list[tuple[str, str, list[tuple[str, bytes]], dict[str, Any], str, str]] = [
    ("redux", "flux", [], {}, "#/style_image", "redux takes 1 to 4 style images, got 0"),
    ("redux-fill", "flux-fill", STYLES * 2, {}, "#/style_image", "takes 1 style image, got 2"),
    ("fill", "flux-fill", [*STYLES, *PAINTED], {}, "#/style_image", "fill takes 0 style images, got 1"),
    ("redux", "flux", STYLES, {"width": 72}, "#/width", "must be a multiple of 16 on tiny-flux, not 72"),
    ("fill", "flux-fill", PAINTED, {"height": 88}, "#/height", "must be a multiple of 16"),
    ("fill", "flux", PAINTED, {}, "#/model", "fill does not run on tiny-flux; it runs on tiny-flux-fill"),
    ("redux", "flux", [*STYLES, *PAINTED], {}, "#/mask_image", "redux takes no mask"),
    ("fill", "flux-fill", [("content_image", CONTENT)], {}, "#/mask_image", "is required: what is white"),
    ("redux-fill", "flux-fill", [*STYLES, PAINTED[1]], {}, "#/mask_image", "needs the content image"),
    ("fill", "flux-fill", PAINTED, {"params": {"left": 0}}, "#/mask_image", "not both"),
    ("fill", "flux-fill", [PAINTED[0]], {"params": {"left": 8}}, "#/content_image", "does not fit into 64x64"),
    ("fill", "flux-fill", [PAINTED[0], ("mask_image", mask((64, 48)))], {}, "#/mask_image", "has 64x48 pixels, the"),
    ("fill", "flux-fill", [PAINTED[0], ("mask_image", mask(white=0))], {}, "#/mask_image", "nothing to repaint"),
    ("redux-fill", "flux-fill", [*STYLES, PAINTED[0]], {}, "#/mask_image", "is required with a content image"),
    ("redux-fill", "flux-fill", STYLES, {"params": {"left": 0}}, "#/params/layout", "must be tokens"),
    ("redux", "flux", STYLES, {"params": {"control": "canny"}}, "#/control_image", "is required when params.control"),
    ("redux", "flux-control", STYLES, {}, "#/params/control", "is required on a model of flux-control"),
    ("redux", "flux-schnell", PAINTED[:1] + STYLES, {"params": {"control": "canny"}}, "#/params/control", "needs a"),
    ("flux2-edit", "flux2-klein", [], {}, "#/style_image", "flux2-edit takes 1 to 4 style images, got 0"),
    ("flux2-edit", "flux2-klein", STYLES, {"width": 72}, "#/width", "must be a multiple of 16 on tiny-flux2-klein"),
    ("flux2-edit", "flux2-klein", STYLES, {"params": {"template": "x"}}, "#/params/template", "must contain {prompt}"),
]


@pytest.mark.parametrize(("method", "base", "files", "fields", "pointer", "words"), BAD)
def test_what_does_not_fit_is_refused_in_words(
    served: Service,
    method: str,
    base: str,
    files: list[tuple[str, bytes]],
    fields: dict[str, Any],
    pointer: str,
    words: str,
) -> None:
    answer = post(served, method, base, files, **fields)
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    assert words in answer.json()["errors"][0]["detail"]


def test_weights_that_are_missing_are_told_with_the_line_that_fetches_them(served: Service) -> None:
    answer = post(served, "redux", "flux", [*STYLES, ("control_image", CONTENT)], params={"control": "depth"})
    job = served.finished(answer.raise_for_status().json()["id"])
    assert job["error"]["code"] == "weights-missing"
    assert "stylize models pull flux1-depth-lora" in job["error"]["detail"]
