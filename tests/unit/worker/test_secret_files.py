"""Settings whose values stand in files."""

from pathlib import Path

import pytest

from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings


def test_a_value_stands_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("redis://:secret@redis:6379/0\n")
    monkeypatch.setenv("STYLIZE_REDIS_URL_FILE", str(tmp_path / "url"))
    assert Settings.read().redis_url == "redis://:secret@redis:6379/0"


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZE_REDIS_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(Misconfigured, match="STYLIZE_REDIS_URL_FILE: cannot read"):
        Settings.read()


def test_a_malformed_value_in_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lease").write_text("long")
    monkeypatch.setenv("STYLIZE_LEASE_SECONDS_FILE", str(tmp_path / "lease"))
    with pytest.raises(Misconfigured, match="STYLIZE_LEASE_SECONDS"):
        Settings.read()


def test_both_ways_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("redis://redis")
    monkeypatch.setenv("STYLIZE_REDIS_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("STYLIZE_REDIS_URL", "redis://redis")
    with pytest.raises(Misconfigured, match="keep one"):
        Settings.read()


def test_a_file_for_an_unknown_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZE_REDDIS_URL_FILE", "/nowhere")
    with pytest.raises(Misconfigured, match="unknown setting STYLIZE_REDDIS_URL_FILE"):
        Settings.read()
