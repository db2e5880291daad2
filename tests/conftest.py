"""What every test shares: nothing listens or writes outside the test's own folders, the tiny models are installed."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.support.tiny.store import build_tiny_store

MODEL_DIR = "STYLIZE_MODEL_DIR"
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


def pytest_configure() -> None:
    os.environ[MODEL_DIR] = str(build_tiny_store())


@pytest.fixture(autouse=True)
def _no_settings_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("STYLIZE_") and name != MODEL_DIR]:
        monkeypatch.delenv(name)
