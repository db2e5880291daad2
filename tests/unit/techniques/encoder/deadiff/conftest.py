"""Fixtures of DEADiff's tests: the tiny published-layout checkpoint, installed as a pull leaves it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parity.families.deadiff import installed as converted
from workers.engine.errors import WeightsMissing

WEIGHTS = Path(__file__).parents[4] / "parity" / "cases" / "deadiff" / "weights"


@pytest.fixture(scope="session")
def folder() -> Path:
    return converted(WEIGHTS / "deadiff_v1.ckpt", WEIGHTS / "dims.json")


@pytest.fixture
def installed(folder: Path) -> Callable[[str], Path]:
    def weights(model: str) -> Path:
        if model != "deadiff":
            raise WeightsMissing(model)
        return folder

    return weights
