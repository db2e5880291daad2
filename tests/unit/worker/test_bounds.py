"""Numbers and empty values in settings: whatever is accepted can be worked with, and what is not is named."""

import math
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from pydantic.fields import FieldInfo

from app.cli.session import ClientSettings
from app.settings import GatewaySettings
from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings
from workers.settings import WorkerSettings
from workers.sweeper import SweeperSettings

PROCESSES: tuple[type[Settings], ...] = (Settings, GatewaySettings, WorkerSettings, SweeperSettings, ClientSettings)
NUMBERS = sorted(
    {
        (settings, name)
        for settings in PROCESSES
        for name, field in settings.model_fields.items()
        if {int, float} & {field.annotation, *get_args(field.annotation)}
    },
    key=lambda case: (case[0].__name__, case[1]),
)
each_number = pytest.mark.parametrize(("settings", "name"), NUMBERS)


def bound(field: FieldInfo, *names: str) -> float:
    [value] = [
        getattr(rule, name) for rule in field.metadata for name in names if getattr(rule, name, None) is not None
    ]
    return float(value)


@each_number
def test_every_number_has_two_bounds_and_a_default_within(settings: type[Settings], name: str) -> None:
    field = settings.model_fields[name]
    least, most = bound(field, "ge", "gt"), bound(field, "le", "lt")
    default = field.get_default(call_default_factory=True)
    assert math.isfinite(least)
    assert math.isfinite(most)
    assert default is None or least <= default <= most


@each_number
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "1" + "0" * 400, "-1e300"])
def test_no_number_is_endless(settings: type[Settings], name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZE_MODELS", "starter")
    monkeypatch.setenv(f"STYLIZE_{name}".upper(), value)
    with pytest.raises(Misconfigured, match=f"STYLIZE_{name}".upper()):
        settings.read()


def test_the_longest_retention_can_be_reckoned_with() -> None:
    longest = Settings(retention_hours=876_000).retention_hours
    assert datetime.now(UTC) - timedelta(hours=longest) < datetime.now(UTC)
    assert round(longest * 3_600_000) < 2**53, "Lua counts milliseconds exactly so far"
    assert round(Settings(retention_hours=1e-6).retention_hours * 3_600_000) > 0, "Redis keeps nothing for 0 ms"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        *((Settings, name) for name in ("s3_endpoint_url", "models")),
        *((GatewaySettings, f"gateway_{name}") for name in ("public_url", "url_key", "decoders", "webhook_allow")),
        *((WorkerSettings, f"worker_{name}") for name in ("id", "threads", "c2pa_certificate", "c2pa_key")),
        (ClientSettings, "client_key"),
    ],
)
def test_an_empty_value_is_none(settings: type[Settings], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZE_MODELS", "starter")
    expected = getattr(settings.read(), name)
    monkeypatch.setenv(f"STYLIZE_{name}".upper(), "")
    if name != "models":
        assert getattr(settings.read(), name) == expected
    else:
        assert settings.read().models == ()


def test_an_empty_value_beside_a_file_is_none_and_an_empty_file_is_a_fault(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path_factory.mktemp("secrets") / "key"
    file.write_text("k" * 32)
    monkeypatch.setenv("STYLIZE_MODELS", "starter")
    monkeypatch.setenv("STYLIZE_GATEWAY_URL_KEY", "")
    monkeypatch.setenv("STYLIZE_GATEWAY_URL_KEY_FILE", str(file))
    key = GatewaySettings.read().gateway_url_key
    assert key is not None
    assert key.get_secret_value() == "k" * 32
    file.write_text("")
    with pytest.raises(Misconfigured, match="STYLIZE_GATEWAY_URL_KEY"):
        GatewaySettings.read()


@pytest.mark.parametrize("name", ["LEASE_SECONDS", "MAX_ATTEMPTS", "LOG_LEVEL", "TRACING"])
def test_an_empty_value_of_what_has_a_default_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"STYLIZE_{name}", "")
    with pytest.raises(Misconfigured, match=f"STYLIZE_{name}"):
        Settings.read()
