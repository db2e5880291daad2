"""Every technique is explained to people who know nothing of it."""

import re

import pytest

from workers.contract.spec import Spec
from workers.techniques import registry

MOST = 110
SPECS = [registry.spec(name) for name in registry.names()]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_technique_and_its_main_parameters_have_one_plain_sentence_each(spec: Spec) -> None:
    assert spec.main_parameters
    assert set(spec.main_parameters) <= set(spec.params.model_fields)
    for sentence in (spec.brief, *spec.main_parameters.values()):
        assert len(sentence) <= MOST
        assert re.fullmatch(r"[A-Z][^`_.]*\.", sentence), sentence


def test_a_parameter_without_effect_is_marked_as_such() -> None:
    properties = [field for spec in SPECS for field in spec.params_schema()["properties"].values()]  # type: ignore[call-overload, index, union-attr]
    marked = [one for one in properties if one.get("x-no-effect")]
    assert marked == [one for one in properties if one.get("description", "").startswith("has no effect")] != []
