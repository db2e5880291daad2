"""Requests as real clients send them: parts labelled in many ways, web forms, and JSON where no file is sent."""

import json
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.pictures import FORM, encoded, picture, style

NUMBERS = {"seed": 7, "steps": 2, "width": 64, "height": 64}
WANTED = FORM | NUMBERS


@pytest.fixture(scope="module")
def stored(gateway: Gateway) -> str:
    """The sha256 of a picture that the service has."""
    (sha256,) = gateway.accepted()["recipe"]["style_images"]
    return str(sha256)


@pytest.fixture(scope="module")
def saved(gateway: Gateway) -> str:
    """The id of a saved style."""
    return str(gateway.client.post("/styles", data={"name": "a"}, files=style()).json()["id"])


@pytest.mark.parametrize(
    "media_type",
    [
        "image/*",
        "multipart/form-data",
        "image/x-png",
        "binary/octet-stream",
        "text/plain",
        "text/html",
        "a/b; c=d",
        "x",
    ],
)
def test_what_a_picture_is_called_refuses_nothing(gateway: Gateway, media_type: str) -> None:
    gateway.accepted(files=style(media_type=media_type))
    saved = gateway.client.post("/styles", data={"name": "a"}, files=style(media_type=media_type))
    assert saved.status_code == 201


def test_an_empty_file_is_called_empty(gateway: Gateway) -> None:
    refused = gateway.post(files=style(b""))
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"pointer": "#/style_image/0", "detail": "the file is empty"}]


def test_a_form_of_a_framework(gateway: Gateway) -> None:
    files = [
        ("style_image[0]", ("a.png", encoded(picture()), "image/png")),
        ("style_image[1]", ("b.png", encoded(picture(seed=1)), "image/png")),
        ("params", ("blob", b'\xef\xbb\xbf{"leak_scale": 0.5}', "application/json")),
    ]
    made = gateway.accepted({"prompt": "a house\r\nby a lake\r\n", "style_weights[]": ["1", "0.5"]}, files)
    assert made["recipe"]["prompt"] == "a house by a lake"
    assert made["recipe"]["params"]["leak_scale"] == 0.5
    assert made["recipe"]["style_weights"] == [1, 0.5]


def test_json_and_a_web_form_ask_for_what_multipart_asks_for(gateway: Gateway, stored: str, saved: str) -> None:
    sent = gateway.accepted()["recipe"]
    for reference in ({"style_image": stored}, {"style_id": saved}, {"recipe": json.dumps(sent)}):
        web_form = gateway.client.post("/stylize", data=FORM | reference)
        assert web_form.status_code == 202, web_form.text
        assert web_form.json()["recipe"] == sent
    for body in (
        {"style_image": [stored], "style_weights": [1], "params": sent["params"]},
        {"style_id": saved},
        {"recipe": sent},
    ):
        made = gateway.client.post("/stylize", json=FORM | NUMBERS | body)
        assert made.status_code == 202, made.text
        assert made.json()["recipe"] == sent


def test_a_recipe_alone_is_a_request(gateway: Gateway) -> None:
    sent = gateway.accepted()["recipe"]
    assert gateway.client.post("/stylize", json={"recipe": sent}).json()["recipe"] == sent


def test_a_comparison_in_json(gateway: Gateway, stored: str, saved: str) -> None:
    body = {"prompt": "a", "method": ["signal-leak", "ip-adapter"], "seed": [7, 8], "strength": [1, 0.5], "steps": 2}
    params = {"signal-leak": {"leak_scale": 0.5}}
    for reference in ({"style_image": [stored]}, {"style_id": saved}):
        made = gateway.client.post("/comparisons", json=body | reference | {"params": params})
        assert made.status_code == 202, made.text
        cells = made.json()["cells"]
        assert [(cell["method"], cell["strength"], cell["seed"]) for cell in cells] == [
            (m, t, s) for m in ("signal-leak", "ip-adapter") for t in (1, 0.5) for s in (7, 8)
        ]
        assert cells[0]["job"]["recipe"]["params"]["leak_scale"] == 0.5
        gateway.client.delete(made.json()["links"]["self"])


def test_stored_pictures_of_a_comparison_go_to_the_methods_that_take_them(gateway: Gateway, stored: str) -> None:
    body = {"prompt": "a", "method": ["style-aligned", "style-id"], "style_image": [stored], "content_image": stored}
    made = gateway.client.post("/comparisons", json=body).json()
    assert [bool(cell["job"]["recipe"]["content_image"]) for cell in made["cells"]] == [False, True]
    gateway.client.delete(made["links"]["self"])


def test_the_same_key_with_another_stored_picture_is_a_conflict(gateway: Gateway, stored: str) -> None:
    (other,) = gateway.accepted(files=style(encoded(picture(seed=5))))["recipe"]["style_images"]
    body, key = {"prompt": "a", "method": "signal-leak", "seed": 7}, {"Idempotency-Key": "stored-pictures"}
    made = gateway.client.post("/comparisons", json=body | {"style_image": stored}, headers=key)
    again = gateway.client.post("/comparisons", json=body | {"style_image": stored}, headers=key)
    assert again.json()["id"] == made.json()["id"]
    assert gateway.client.post("/comparisons", json=body | {"style_image": other}, headers=key).status_code == 409
    gateway.client.delete(made.json()["links"]["self"])


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"prompt": {"text": "a"}}, "#/prompt", "must be a string"),
        ({"seed": "-2"}, "#/seed", "or -1 to have one drawn"),
        ({"seed": 1.5}, "#/seed", "whole number"),
        ({"steps": True}, "#/steps", "whole number"),
        ({"params": {"nope": 1}}, "#/params/nope", "unknown parameter"),
        ({"style_image": ["ff" * 32]}, "#/style_image/0", "not stored any more"),
        ({"style_image": "photo.png"}, "#/style_image", "as a file"),
        ({"prompt": "a \ud83c"}, "#/prompt", "half a surrogate pair"),
        ({"style_id": "\ud83c"}, "#/style_id", "half a surrogate pair"),
        ({"recipe": {"method": "\ud83c"}}, "#/recipe", "half a surrogate pair"),
        ({"unheard_of": 1}, "#/unheard_of", "known are style_image"),
        ({"strength": float("nan")}, "#/strength", "from 0 to 1"),
        ({}, "#/style_image", "takes 1 to 4 style images"),
    ],
)
def test_what_is_wrong_in_json_is_named(gateway: Gateway, body: Any, pointer: str, words: str) -> None:
    text = json.dumps(FORM | body)
    refused = gateway.client.post("/stylize", content=text, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422, refused.text
    errors = refused.json()["errors"]
    assert any(fault["pointer"] == pointer and words in fault["detail"] for fault in errors), errors


def test_half_a_surrogate_pair_in_the_parameters_of_a_comparison_is_422(gateway: Gateway) -> None:
    fields = {"method": "signal-leak", "prompt": "a", "params": json.dumps({"\ud83c": {}})}
    refused = gateway.client.post("/comparisons", data=fields, files=style())
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/params"


def test_files_and_stored_pictures_do_not_mix(gateway: Gateway, stored: str) -> None:
    refused = gateway.post({"style_image": stored})
    assert refused.status_code == 422
    assert "not both" in refused.json()["errors"][0]["detail"]
    both = gateway.client.post("/stylize", json=FORM | {"style_image": stored, "style_id": "a"})
    assert both.json()["errors"][0]["pointer"] == "#/style_id"


@pytest.mark.parametrize("path", ["/stylize", "/comparisons"])
@pytest.mark.parametrize("depth", [400, 900, 950, 980, 990, 1000, 5000])
def test_deep_and_large_bodies_are_refused(gateway: Gateway, path: str, depth: int) -> None:
    kind = {"Content-Type": "application/json"}
    deep = b'{"method": "signal-leak", "params": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    assert gateway.client.post(path, content=deep, headers=kind).status_code in (400, 422)
    large = json.dumps({"prompt": "a" * 70_000})
    assert gateway.client.post(path, content=large, headers=kind).status_code == 413
    assert gateway.client.post(path, data={"prompt": "a" * 70_000}).status_code == 413


def test_the_document_tells_all_three_bodies(gateway: Gateway) -> None:
    paths = gateway.client.get("/openapi.json").json()["paths"]
    for path in ("/v1/stylize", "/v1/comparisons"):
        content = paths[path]["post"]["requestBody"]["content"]
        assert list(content) == ["multipart/form-data", "application/x-www-form-urlencoded", "application/json"]
        fields = [set(one["schema"]["properties"]) for one in content.values()]
        assert fields[0] == fields[1] == fields[2]
        assert content["application/json"]["schema"]["properties"]["params"]["type"] == "object"
