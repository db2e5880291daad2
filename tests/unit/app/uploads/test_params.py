"""What is wrong with a technique's parameters, or with them and the pictures, in plain words."""

import json
from typing import Any

import pytest

from app.capabilities import Capabilities
from app.errors import Invalid
from app.uploads.cost import cost
from app.uploads.form_schema import build_stylize_schema
from app.uploads.multipart import Form
from app.uploads.params import parse_params
from app.uploads.validate import RequestValidator
from workers.contract.jobs.models import StylizeRequest
from workers.techniques import registry

SHA256 = "1" * 64
MODELS = {"sd15": "sd15", "flux1-dev": "flux", "flux1-schnell": "flux-schnell", "flux1-depth": "flux-control"}
LIBRARY = ("Input should", "should be", "Field required", "Value error", "a valid")


@pytest.mark.parametrize(
    ("method", "params", "pointer", "words"),
    [
        ("signal-leak", {"leak_scale": 99}, "leak_scale", "must be a number from 0 to 3"),
        ("signal-leak", {"leak_scale": "1"}, "leak_scale", "must be a number"),
        ("signal-leak", {"nope": 1}, "nope", "unknown parameter of signal-leak; known are loras, "),
        ("signal-leak", {"loras": [{"id": "a", "nope": 1}]}, "loras/0/nope", "unknown; known: id, scale"),
        ("signal-leak", {"loras": [{}]}, "loras/0/id", "is required"),
        ("signal-leak", {"loras": [{"id": "a"}] * 5}, "loras", "must have at most 4 items"),
        ("signal-leak", {"loras": {}}, "loras", "must be a"),
        ("signal-leak", {"sampler": "x"}, "sampler", "must be 'ddim'"),
        ("style-aligned", {"inversion_offset": 1000}, "inversion_offset", "must be a whole number from 0 to 999"),
        ("style-aligned", {"inversion_offset": 1.5}, "inversion_offset", "integer"),
        (
            "style-aligned",
            {"control_guidance_start": 1, "control_guidance_end": 0},
            "",
            "control_guidance_start is after control_guidance_end",
        ),
    ],
)
def test_faults_in_plain_words(method: str, params: Any, pointer: str, words: str) -> None:
    read, (fault, *_) = parse_params(json.dumps(params), registry.spec(method))
    assert read is None
    assert fault.pointer == "/".join(filter(None, ("#/params", pointer)))
    assert words in fault.detail
    assert not any(word in fault.detail for word in LIBRARY)


@pytest.mark.parametrize("method", registry.names())
def test_every_parameter_of_every_method_is_refused_in_plain_words(method: str) -> None:
    spec = registry.spec(method)
    for name in spec.params.model_fields:
        for wrong in (True, -99999, 99999, 0.5, "nothing", [], {}, [{}], ["a"], [[99999]]):
            _, faults = parse_params(json.dumps({name: wrong}), spec)
            for fault in faults:
                assert not any(word in fault.detail for word in LIBRARY), fault


def validated(method: str, model: str, *pictures: str, **params: Any) -> StylizeRequest:
    offered = Capabilities(MODELS)  # type: ignore[arg-type]
    texts = {"method": method, "model": model, "prompt": "a cat", "params": json.dumps(params)}
    form = Form(texts, stored={name: [SHA256] for name in ("style_image", *pictures)})
    return RequestValidator(offered, build_stylize_schema(offered), 1e9).validate(form)


@pytest.mark.parametrize(("method", "model"), [("redux", "flux1-dev"), ("style-aligned", "sd15")])
def test_a_photograph_needs_no_word_but_what_is_made_of_it(method: str, model: str) -> None:
    request = validated(method, model, "control_image", control_source="canny")
    assert (request.params["control"], request.params["control_source"]) == ("canny", "canny")
    assert validated(method, model, "control_image", control="depth").params["control_source"] == "given"


def test_redux_takes_the_content_picture_in_place_of_a_control_picture() -> None:
    request = validated("redux", "flux1-depth", "content_image", control="depth")
    assert (request.content_image is None, request.control_image) == (False, None)


@pytest.mark.parametrize(
    ("method", "model", "pictures", "params", "pointer", "words"),
    [
        ("redux", "flux1-dev", (), {"control": "canny"}, "#/control_image", "without a content image"),
        ("redux", "flux1-dev", (), {"control_source": "canny"}, "#/control_image", "without a content image"),
        ("style-aligned", "sd15", (), {"control_source": "canny"}, "#/control_image", "params.control is given"),
        ("style-aligned", "sd15", ("control_image",), {}, "#/params/control", "canny, depth, tile"),
        ("redux", "flux1-schnell", ("control_image",), {"control_source": "canny"}, "#/params/control", "flux-control"),
        ("redux", "flux1-dev", ("control_image",), {"control_source": "edges"}, "#/params/control_source", "'canny'"),
        (
            "style-aligned",
            "sd15",
            ("control_image",),
            {"control": "tile", "control_source": "depth"},
            "#/params",
            "control_source depth makes no map of kind tile",
        ),
        (
            "redux",
            "flux1-dev",
            ("control_image",),
            {"control_source": "canny", "low_threshold": 250},
            "#/params",
            "low_threshold 250 is above high_threshold 200",
        ),
        ("csgo", "sd15", ("control_image",), {}, "#/control_image", "takes no control image"),
    ],
)
def test_what_does_not_go_together_is_told(
    method: str, model: str, pictures: tuple[str, ...], params: dict[str, Any], pointer: str, words: str
) -> None:
    with pytest.raises(Invalid) as refused:
        validated(method, model, *pictures, **params)
    faults = {fault.pointer: fault.detail for fault in refused.value.errors}
    assert words in faults[pointer]


def test_true_guidance_of_redux_doubles_its_price() -> None:
    spec = registry.spec("redux")
    plain, guided = (validated("redux", "flux1-dev", true_cfg_scale=scale) for scale in (1.0, 2.0))
    assert cost(guided, spec) == 2 * cost(plain, spec)
