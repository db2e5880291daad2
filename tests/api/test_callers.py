"""What callers are promised, through the real service: the client, recipes that come back, OpenAI's client."""

import base64
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from stylize_client import Client, StylizeFields

from tests.support.client_wheel import NAME, CallersEnvironment
from tests.support.service import EXAMPLES, Service, service

pytestmark = pytest.mark.xdist_group("service")
STYLE = EXAMPLES / "style.png"
SERVERS = {"stylize", "boto3", "celery", "redis", "torch"}
PROGRAM = """
import asyncio, importlib.util, sys
from pathlib import Path
from stylize_client import AsyncClient, Client

url, style, folder = sys.argv[1:]
small = {"prompt": "a house", "width": 64, "height": 64, "steps": 2}

async def draw_again(job):
    async with AsyncClient(url) as stylize:
        return await stylize.download(await stylize.wait(await stylize.submit_recipe(job.recipe)), folder)

with Client(url) as stylize:
    job = stylize.wait(stylize.submit("signal-leak", style_images=[style], **small))
    (first,) = stylize.download(job, folder)
(second,) = asyncio.run(draw_again(job))
assert first != second
assert first.read_bytes() == second.read_bytes()
assert [name for name in ("app", "workers", "model_store", "deploy") if importlib.util.find_spec(name)] == []
print(first)
"""
SMALL: StylizeFields = {"prompt": "a house", "width": 64, "height": 64, "steps": 4}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("models")) as started:
        yield started


@pytest.fixture
def client(running: Service) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{running.port}") as opened:
        yield opened


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_a_recipe_makes_the_same_bytes_again(client: Client, output_format: str, tmp_path: Path) -> None:
    asked: StylizeFields = {**SMALL, "output_format": output_format}  # type: ignore[typeddict-item]
    first = client.wait(client.submit("signal-leak", style_images=[STYLE], strength=0.7, **asked))
    (file,) = client.download(first, tmp_path)
    recipe = first.recipe.model_dump(mode="json")
    assert client.get_pictures(client.wait(client.submit_recipe(recipe))) == [file.read_bytes()]
    assert client.get_pictures(client.wait(client.submit_recipe(file))) == [file.read_bytes()]


@pytest.mark.parametrize("method", ["signal-leak", "style-aligned"])
def test_each_picture_of_several_is_made_again_by_its_own_recipe(client: Client, method: str, tmp_path: Path) -> None:
    asked: StylizeFields = {**SMALL, "width": 128, "height": 128, "num_images": 3, "seed": 11}
    several = client.wait(client.submit(method, style_images=[STYLE], **asked))
    files = client.download(several, tmp_path)
    assert len(files) == 3
    for file in files:
        assert client.get_pictures(client.wait(client.submit_recipe(file))) == [file.read_bytes()]
    assert client.get_pictures(client.wait(client.submit_recipe(several.recipe.model_dump(mode="json")))) == [
        file.read_bytes() for file in files
    ]


def test_a_saved_style_draws_as_its_references_do(running: Service, client: Client) -> None:
    direct = client.wait(client.submit("signal-leak", style_images=[STYLE], seed=3, **SMALL))
    files = {"style_image": ("style.png", STYLE.read_bytes(), "image/png")}
    style = running.client.post("/styles", data={"name": "example"}, files=files).raise_for_status().json()
    saved = client.wait(client.submit("signal-leak", style_id=style["id"], seed=3, **SMALL))
    assert client.get_pictures(saved) == client.get_pictures(direct)


def test_the_official_openai_client_gets_a_picture(running: Service, client: Client) -> None:
    direct = client.wait(client.submit("signal-leak", style_images=[STYLE], seed=3, **SMALL))
    with openai.OpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="unused") as theirs:
        answer = theirs.images.edit(
            image=STYLE, prompt="a house", model="signal-leak", size="64x64", extra_body={"steps": 4, "seed": 3}
        )
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == client.get_pictures(direct)[0]


def test_the_clients_wheel_alone_runs_jobs(running: Service, tmp_path: Path) -> None:
    environment = CallersEnvironment(tmp_path)
    assert {"httpx2", "pydantic"} < environment.required
    assert environment.installed() == environment.required | {NAME}
    assert not environment.installed() & SERVERS
    url = f"http://127.0.0.1:{running.port}"
    written = environment.run(PROGRAM, url, str(STYLE), str(tmp_path / "out")).strip()
    assert Path(written).read_bytes().startswith(b"\x89PNG")
