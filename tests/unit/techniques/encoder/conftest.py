"""Fixtures of the encoder family's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.techniques.encoder import samples


@pytest.fixture(scope="session")
def installed(tiny_root: Path) -> Callable[[str], Path]:
    return samples.store(tiny_root)
