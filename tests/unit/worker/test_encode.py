"""Files that carry their recipe, whatever the prompt says."""

import json
import re
from html import unescape
from io import BytesIO

import pytest
from PIL import Image

from tests.integration.conftest import new_job
from workers.contract.blobs.names import OutputFormat
from workers.contract.jobs.models import Recipe, StylizeRequest, Terms
from workers.worker.encode import RECIPE_KEY, encode, recipe

PROMPT = 'a "house" & <tree> – 猫'


def request() -> StylizeRequest:
    made = new_job().request
    assert isinstance(made, StylizeRequest)
    return made.model_copy(update={"prompt": PROMPT})


def picture() -> Image.Image:
    return Image.linear_gradient("L").resize((32, 24)).convert("RGB")


def test_a_recipe_is_the_request_of_one_picture() -> None:
    parsed = json.loads(recipe(request(), seed=9))
    assert (parsed["seed"], parsed["num_images"], parsed["prompt"]) == (9, 1, PROMPT)


def test_a_recipe_tells_the_terms_beside_the_request_and_older_ones_are_read_too() -> None:
    terms = Terms(id="ink", kind="lora", licence="CC-BY-NC-4.0", url="https://example.org", non_commercial=True)
    told = Recipe.model_validate_json(recipe(request(), 9, [terms]))
    assert told.licences == (terms,)
    assert StylizeRequest.model_validate(
        told.model_dump(exclude={"licences", "weight_storage"})
    ) == StylizeRequest.model_validate_json(recipe(request(), 9))
    assert Recipe.model_validate_json(recipe(request(), 9)).licences == ()


def test_a_recipe_names_weights_that_are_not_kept_in_full() -> None:
    assert Recipe.model_validate_json(recipe(request(), 9, (), "float8")).weight_storage == "float8"
    assert "weight_storage" not in json.loads(recipe(request(), 9))


def test_png_keeps_pixels_and_recipe() -> None:
    made = Image.open(BytesIO(encode(picture(), "png", recipe(request(), 9))))
    assert made.tobytes() == picture().tobytes()
    assert json.loads(made.info[RECIPE_KEY])["prompt"] == PROMPT


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_xmp_keeps_the_recipe(output_format: OutputFormat) -> None:
    made = Image.open(BytesIO(encode(picture(), output_format, recipe(request(), 9))))
    assert made.size == (32, 24)
    found = re.search(r"stylize:recipe=(['\"])(.*?)\1", made.info["xmp"].decode())
    assert found is not None
    assert json.loads(unescape(found[2]))["prompt"] == PROMPT


def test_equal_pictures_are_equal_files() -> None:
    assert encode(picture(), "png", "{}") == encode(picture(), "png", "{}")
