"""Fixtures of the encoder family's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.techniques import encoder_samples


@pytest.fixture(scope="session")
def installed(tiny_root: Path) -> Callable[[str], Path]:
    return encoder_samples.store(tiny_root)
