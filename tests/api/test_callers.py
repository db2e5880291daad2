"""What callers are promised, through the real service: the client, recipes that come back, OpenAI's client."""

import base64
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from app.client import Client
from app.client.operations import StylizeFields
from tests.support.service import EXAMPLES, Service, service

pytestmark = pytest.mark.xdist_group("service")
STYLE = EXAMPLES / "style.png"
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
    assert client.pictures(client.wait(client.again(recipe))) == [file.read_bytes()]
    assert client.pictures(client.wait(client.again(file))) == [file.read_bytes()]


@pytest.mark.parametrize("method", ["signal-leak", "style-aligned"])
def test_each_picture_of_several_is_made_again_by_its_own_recipe(client: Client, method: str, tmp_path: Path) -> None:
    asked: StylizeFields = {**SMALL, "width": 128, "height": 128, "num_images": 3, "seed": 11}
    several = client.wait(client.submit(method, style_images=[STYLE], **asked))
    files = client.download(several, tmp_path)
    assert len(files) == 3
    for file in files:
        assert client.pictures(client.wait(client.again(file))) == [file.read_bytes()]
    assert client.pictures(client.wait(client.again(several.recipe.model_dump(mode="json")))) == [
        file.read_bytes() for file in files
    ]


def test_a_saved_style_draws_as_its_references_do(running: Service, client: Client) -> None:
    direct = client.wait(client.submit("signal-leak", style_images=[STYLE], seed=3, **SMALL))
    files = {"style_image": ("style.png", STYLE.read_bytes(), "image/png")}
    style = running.client.post("/styles", data={"name": "example"}, files=files).raise_for_status().json()
    saved = client.wait(client.submit("signal-leak", style_id=style["id"], seed=3, **SMALL))
    assert client.pictures(saved) == client.pictures(direct)


def test_the_official_openai_client_gets_a_picture(running: Service, client: Client) -> None:
    direct = client.wait(client.submit("signal-leak", style_images=[STYLE], seed=3, **SMALL))
    with openai.OpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="unused") as theirs:
        answer = theirs.images.edit(
            image=STYLE, prompt="a house", model="signal-leak", size="64x64", extra_body={"steps": 4, "seed": 3}
        )
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == client.pictures(direct)[0]
