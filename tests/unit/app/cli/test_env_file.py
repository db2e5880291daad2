""".env.example: what the settings classes say, and something that every process takes."""

import re

import pytest

from app.cli.env_file import FILE, names, text
from app.settings import GatewaySettings
from workers.contract.runtime.settings import Settings
from workers.settings import WorkerSettings
from workers.sweeper import SweeperSettings


def test_the_file_is_what_the_settings_say() -> None:
    assert FILE.read_text() == text(), "run: python -m app.cli.env_file --write"


def test_every_setting_is_in_it_and_explained() -> None:
    written = re.findall(r"^# (.+)\n#(STYLIZE_\w+)=", text(), flags=re.MULTILINE)
    assert {name for _, name in written} == names()
    assert all(explanation != "None" for explanation, _ in written)


@pytest.mark.parametrize("settings", [GatewaySettings, WorkerSettings, SweeperSettings])
def test_every_line_is_taken_as_it_stands(settings: type[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STYLIZE_MODEL_DIR")
    expected = settings(models=("starter",))
    for name, value in re.findall(r"^#(STYLIZE_\w+)=(.*)$", text(), flags=re.MULTILINE):
        monkeypatch.setenv(name, value or ("starter" if name == "STYLIZE_MODELS" else ""))
    assert settings.read() == expected
