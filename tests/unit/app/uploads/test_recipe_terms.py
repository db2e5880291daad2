"""A picture's recipe comes back with the terms that it carries, and without, as older pictures have it."""

import json

import pytest

from app.errors import Invalid
from app.uploads.recipe import read
from workers.contract.jobs.models import StylizeRequest, Terms

REQUEST = StylizeRequest(
    method="signal-leak", model="tiny-sd15", seed=1, width=64, height=64, steps=2, guidance_scale=1.0, strength=1.0
)
TERMS = Terms(id="tiny-sd15", kind="base", licence="Apache-2.0")


def test_terms_are_no_part_of_the_request() -> None:
    carried = json.loads(REQUEST.model_dump_json()) | {"licences": [TERMS.model_dump()]}
    found = read(json.dumps(carried))
    assert found.licences == (TERMS,)
    assert StylizeRequest.model_validate(found.model_dump(exclude={"licences"})) == REQUEST
    assert read(REQUEST.model_dump_json()).licences == ()


def test_other_additions_are_refused() -> None:
    with pytest.raises(Invalid, match="recipe/surprise"):
        read(json.dumps(json.loads(REQUEST.model_dump_json()) | {"surprise": 1}))
