"""What is wrong with a technique's parameters, in plain words."""

import json
from typing import Any

import pytest

from app.uploads.params import parse_params
from workers.techniques import registry

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
