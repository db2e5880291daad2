"""What every test shares: nothing listens or writes outside the test's own folders."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("STYLIZE_")]:
        monkeypatch.delenv(name)
