"""Recipes that come back: read out of JSON and pictures, and only for references that are the caller's and stored."""

import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from app.errors import Invalid
from app.uploads.decoder.picture_file import MAX_RECIPE_BYTES
from app.uploads.decoder.recipe_text import recipe_text
from app.uploads.recipe import read
from tests.security.corpus.png import chunk
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture, style
from workers.contract.blobs import input_name
from workers.contract.blobs.names import OutputFormat
from workers.contract.jobs.models import Job, StylizeRequest, Terms
from workers.worker.encode import encode

TEXT = json.dumps({"prompt": "a \"house\" & 'tree' <über> \u96ea", "params": {"a": [1, None]}}, ensure_ascii=False)
REQUEST = StylizeRequest(
    method="signal-leak", model="tiny-sd15", seed=1, width=64, height=64, steps=2, guidance_scale=1.0, strength=1.0
)
TERMS = Terms(id="tiny-sd15", kind="base", licence="Apache-2.0")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("text", [TEXT, json.dumps({"prompt": 'only "double" quotes'}), "one\r\n\ttwo &amp;copy &#9;"])
def test_what_the_worker_writes_is_found(kind: OutputFormat, text: str) -> None:
    file = encode(picture(size=(64, 48)), kind, text)
    assert recipe_text(BytesIO(file)).decode() == text


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_other_pictures_carry_none(kind: str) -> None:
    assert recipe_text(BytesIO(encoded(picture(), kind))) == b""


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_recipe_that_is_too_long_is_none(kind: OutputFormat) -> None:
    most = "é" * (MAX_RECIPE_BYTES // 2)
    if kind != "jpeg":  # whose XMP has no room for more than that
        assert recipe_text(BytesIO(encode(picture(), kind, most))).decode() == most
        assert recipe_text(BytesIO(encode(picture(), kind, most + "e"))) == b""
    assert recipe_text(BytesIO(encode(picture(), kind, "e" * 60_000))) == b"e" * 60_000


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"tEXt", b"xmp\x00stylize:recipe='text'")],
        [chunk(b"iTXt", b"stylize:recipe\x00\x00\x00\x00\x00\xff\xfe")],
        [chunk(b"iTXt", b"stylize:recipe\x00\x01\x00\x00\x00no zlib")],
        [chunk(b"eXIf", b"stylize:recipe='exif'")],
    ],
)
def test_hostile_text_is_no_recipe(gateway: Gateway, chunks: list[bytes]) -> None:
    file = bytearray(encoded(picture()))
    file[33:33] = b"".join(chunks)  # behind the header
    Image.open(BytesIO(file)).load()
    refused = gateway.client.post("/stylize", files={"recipe": ("a.png", bytes(file), "image/png")})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/recipe"), refused.text
    assert "carries a recipe" in refused.text
    gateway.accepted(files=style(bytes(file)))


class TestPosting:
    def test_the_recipe_of_a_job_makes_the_same_request(self, gateway: Gateway) -> None:
        first = gateway.accepted({"seed": None, "strength": "0.3", "params": '{"leak_scale": 0.1}', "num_images": "2"})
        again = self.again(gateway, first["recipe"])
        assert again.status_code == 202, again.text
        assert again.json()["recipe"] == first["recipe"]
        assert again.json()["id"] != first["id"]

    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
    def test_a_picture_brings_its_recipe(self, gateway: Gateway, kind: OutputFormat) -> None:
        first = gateway.accepted()
        file = encode(picture(size=(64, 64)), kind, json.dumps(first["recipe"]))
        again = gateway.client.post("/stylize", files={"recipe": (f"made.{kind}", file, f"image/{kind}")})
        assert again.json()["recipe"] == first["recipe"]

    def test_what_stands_beside_the_recipe_goes_before_it(self, gateway: Gateway) -> None:
        recipe = gateway.accepted()["recipe"]
        changed = self.again(gateway, recipe, seed="9", prompt="a tree").json()["recipe"]
        assert changed == recipe | {"seed": 9, "prompt": "a tree"}
        other = self.again(gateway, recipe, method="ip-adapter").json()["recipe"]
        assert (other["method"], other["style_images"]) == ("ip-adapter", recipe["style_images"])
        new = gateway.client.post(
            "/stylize", data={"recipe": json.dumps(recipe)}, files=style(encoded(picture(seed=8)))
        ).json()["recipe"]
        assert new["style_images"] != recipe["style_images"]

    def test_a_reference_that_is_gone_is_named(self, gateway: Gateway) -> None:
        recipe = gateway.accepted()["recipe"] | {"style_images": ["a" * 64]}
        refused = self.again(gateway, recipe)
        assert refused.status_code == 422
        (error,) = refused.json()["errors"]
        assert error["pointer"] == "#/recipe/style_images/0"
        assert "a" * 64 in error["detail"]

    def test_a_lost_blob_is_named_too(self, gateway: Gateway) -> None:
        recipe = gateway.accepted(files=style(encoded(picture(seed=99))))["recipe"]
        gateway.blobs.delete([input_name(recipe["style_images"][0])])
        assert self.again(gateway, recipe).json()["errors"][0]["pointer"] == "#/style_image/0"

    def test_a_damaged_blob_is_named_too_until_it_is_sent_again(self, gateway: Gateway) -> None:
        sent = style(encoded(picture(seed=98)))
        recipe = gateway.accepted(files=sent)["recipe"]
        name = input_name(recipe["style_images"][0])
        gateway.blobs.put(name, b"other bytes", content_type="image/png", if_absent=False)
        (error,) = self.again(gateway, recipe).json()["errors"]
        assert error["pointer"] == "#/style_image/0"
        assert "damaged" in error["detail"]
        gateway.accepted(files=sent)
        assert self.again(gateway, recipe).status_code == 202

    def test_another_callers_reference_is_as_good_as_gone(self, gateway: Gateway) -> None:
        recipe = gateway.accepted()["recipe"] | {"style_images": ["b" * 64]}
        new = Job(
            id="with-a-private-reference",
            owner="somebody",
            queue="tiny-sd15",
            request=StylizeRequest.model_validate(recipe),
            digest="0" * 64,
        )
        gateway.store.submit(new)
        assert not gateway.store.unused(["b" * 64])
        assert self.again(gateway, recipe).status_code == 422

    @pytest.mark.parametrize(
        ("text", "pointer"),
        [
            ("{", "#/recipe"),
            ("{}", "#/recipe/method"),
            ('{"metod": "x"}', "#/recipe/metod"),
            ("[" * 10_000, "#/recipe"),
        ],
    )
    def test_what_is_no_recipe_is_refused(self, gateway: Gateway, text: str, pointer: str) -> None:
        refused = gateway.client.post("/stylize", files={"recipe": (None, text)})
        assert refused.status_code == 422
        assert pointer in [error["pointer"] for error in refused.json()["errors"]]

    def test_a_file_without_a_recipe_is_refused(self, gateway: Gateway) -> None:
        refused = gateway.client.post("/stylize", files={"recipe": ("a.png", encoded(picture()), "image/png")})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/recipe")

    def test_a_damaged_picture_is_refused_by_the_recipes_name(self, gateway: Gateway) -> None:
        file = encode(picture(size=(64, 64)), "png", json.dumps(gateway.accepted()["recipe"]))
        for bad in (file[:-200], b"GIF89a" + bytes(100), b""):
            refused = gateway.client.post("/stylize", files={"recipe": ("made.png", bad, "image/png")})
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/recipe"), refused.text

    def test_a_recipe_obeys_the_same_bounds(self, gateway: Gateway) -> None:
        recipe = gateway.accepted()["recipe"] | {"steps": 1000, "params": {"nonsense": 1}}
        refused = self.again(gateway, recipe)
        assert {error["pointer"] for error in refused.json()["errors"]} == {"#/steps", "#/params/nonsense"}

    def again(self, gateway: Gateway, recipe: dict[str, Any], **fields: str) -> Any:
        body = {name: (None, text) for name, text in {"recipe": json.dumps(recipe), **fields}.items()}
        return gateway.client.post("/stylize", files=body)


def test_a_tool_that_keeps_the_text_keeps_the_recipe() -> None:
    opened = Image.open(BytesIO(encode(picture(size=(64, 48)), "png", TEXT)))
    assert opened.info["stylize:recipe"] == TEXT


def test_terms_are_no_part_of_the_request() -> None:
    carried = json.loads(REQUEST.model_dump_json()) | {"licences": [TERMS.model_dump()]}
    found = read(json.dumps(carried))
    assert found.licences == (TERMS,)
    assert StylizeRequest.model_validate(found.model_dump(include=set(StylizeRequest.model_fields))) == REQUEST
    assert read(REQUEST.model_dump_json()).licences == ()


def test_other_additions_are_refused() -> None:
    with pytest.raises(Invalid, match="recipe/surprise"):
        read(json.dumps(json.loads(REQUEST.model_dump_json()) | {"surprise": 1}))
