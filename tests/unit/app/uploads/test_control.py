"""What of a control picture and the parameters of its map is accepted together."""

import json
from typing import Any

import pytest

from app.capabilities import Capabilities
from app.errors import Invalid
from app.uploads.form_schema import build_stylize_schema
from app.uploads.multipart import Form
from app.uploads.validate import RequestValidator
from workers.contract.jobs.models import StylizeRequest

SHA256 = "1" * 64
MODELS = {"sd15": "sd15", "flux1-dev": "flux", "flux1-schnell": "flux-schnell", "flux1-depth": "flux-control"}


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
