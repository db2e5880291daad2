import numpy as np
import pytest

from workers.evaluation.cases import cases, pixels
from workers.training.starter.recipe import RECIPES
from workers.training.starter.split import is_held_out

CPU = RECIPES["cpu"]


@pytest.fixture(scope="module")
def some():
    return cases(CPU, 12)


def test_references_are_of_pairs_that_training_never_saw(some) -> None:
    assert all(is_held_out(case.shown, case.style_name) for case in some)
    assert {case.style_name for case in some} <= set(CPU.styles)


def test_another_object_is_asked_for_than_the_reference_shows(some) -> None:
    assert all(case.asked != case.shown for case in some)
    assert all(case.asked in case.prompt and case.style_name not in case.prompt for case in some)


def test_a_longer_list_begins_with_the_shorter(some) -> None:
    for long, short in zip(some, cases(CPU, 3), strict=False):
        assert long.prompt == short.prompt
        assert np.array_equal(long.style, short.style)
        assert np.array_equal(long.content, short.content)


def test_pictures_are_as_the_judges_take_them(some) -> None:
    assert pixels([case.style for case in some]).shape == (12, 128, 128, 3)
