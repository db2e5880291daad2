"""A wrong setting is told by its name, what it must be and what was given, in words of ours and without secrets."""

import pytest

from app.cli.session import ClientSettings
from app.settings import GatewaySettings
from workers.contract.errors import Misconfigured
from workers.contract.runtime.settings import Settings
from workers.settings import WorkerSettings

LIBRARY = ("Input should", "String should", "Value error", "validation error", "STYLIZE_: ")


def refusal(settings: type[Settings], monkeypatch: pytest.MonkeyPatch, **environ: str) -> str:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as refused:
        settings.read()
    text = str(refused.value)
    assert not [words for words in LIBRARY if words in text], text
    return text


@pytest.mark.parametrize("value", ["tomorrow", "inf", "-inf", "nan", "1e300", "0", "-1", "", "876001"])
def test_a_number_is_told_with_its_range(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(Settings, monkeypatch, STYLIZE_RETENTION_HOURS=value)
    assert told == f"STYLIZE_RETENTION_HOURS: must be a number from 0.000001 up to 876000, not {value!r}"


@pytest.mark.parametrize(
    ("settings", "variable", "value", "told"),
    [
        (Settings, "LEASE_SECONDS", "0", "must be a number above 0.2 and up to 3600, not '0'"),
        (Settings, "MAX_ATTEMPTS", "2.5", "must be a whole number from 1 up to 100, not '2.5'"),
        (Settings, "MAX_QUEUED", "1e300", "must be a whole number from 1 up to 1000000, not '1e300'"),
        (Settings, "REDIS_ALLOW_VOLATILE", "maybe", "must be true or false, not 'maybe'"),
        (Settings, "LOG_FORMAT", "xml", "must be one of text, json, not 'xml'"),
        (GatewaySettings, "GATEWAY_PORT", "70000", "must be a whole number from 0 up to 65535, not '70000'"),
        (GatewaySettings, "GATEWAY_DECODERS", "many", "must be a whole number from 1 up to 64, not 'many'"),
        (GatewaySettings, "GATEWAY_URL_KEY", "secret", "must be a text of at least 32 characters"),
        (WorkerSettings, "WORKER_THREADS", "0", "must be a whole number from 1 up to 4096, not '0'"),
        (WorkerSettings, "WORKER_DEVICE", "gpu", "must be auto, cpu, cuda or cuda:N, such as cuda:0, not 'gpu'"),
        (WorkerSettings, "WORKER_DTYPE", "half", "must be one of auto, float32, bfloat16, float16, not 'half'"),
        (ClientSettings, "CLIENT_URL", "here", "must begin with http:// or https://, such as http://127.0.0.1:8000"),
    ],
)
def test_what_a_value_must_be(
    settings: type[Settings], variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLIZE_MODELS", "starter")
    said = refusal(settings, monkeypatch, **{f"STYLIZE_{variable}": value})
    assert said.startswith(f"STYLIZE_{variable}: {told}")
    assert "secret" not in said


@pytest.mark.parametrize(
    "url",
    [
        *("example.org", "//example.org", "ftp://example.org", "https://", "https:///path", "https://h:port"),
        *("https://h?x=y", "https://h#top", "https://a b", "https://ann:secret@h", "https://h:0"),
    ],
)
def test_a_public_url_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(GatewaySettings, monkeypatch, STYLIZE_MODELS="starter", STYLIZE_GATEWAY_PUBLIC_URL=url)
    assert said.startswith("STYLIZE_GATEWAY_PUBLIC_URL: must be http://HOST or https://HOST[:PORT][/PATH]")
    assert "secret" not in said
    assert ("@" in url) or said.endswith(f", not {url!r}")


@pytest.mark.parametrize("url", ["https://pics.example.com", "http://[::1]:8000", "https://h/a/b/", "http://my_host:1"])
def test_a_public_url_that_is_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZE_MODELS", "starter")
    monkeypatch.setenv("STYLIZE_GATEWAY_PUBLIC_URL", url)
    assert GatewaySettings.read().gateway_public_url == url.rstrip("/")


def test_a_fault_of_models_and_of_origins_is_told_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(GatewaySettings, monkeypatch, STYLIZE_MODELS="sd99")
    assert said.startswith("STYLIZE_MODELS names what is no base model that is served here: sd99; `stylize")
    said = refusal(GatewaySettings, monkeypatch, STYLIZE_MODELS="startr")
    assert "served here: startr (did you mean starter?); `stylize models list`" in said
    said = refusal(GatewaySettings, monkeypatch, STYLIZE_MODELS="starter", STYLIZE_GATEWAY_WEBHOOK_ALLOW="http://a/b")
    assert said.startswith("STYLIZE_GATEWAY_WEBHOOK_ALLOW: must be origins, http://HOST[:PORT]")


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(Settings, monkeypatch, STYLIZE_LEASE_SECONDS="soon", STYLIZE_LOG_LEVEL="loud")
    assert "STYLIZE_LEASE_SECONDS: " in said
    assert "; STYLIZE_LOG_LEVEL: " in said


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("STYLIZE_GATEWAY_PROT", "(did you mean STYLIZE_GATEWAY_PORT?)"),
        ("STYLIZE_PORT", "(did you mean STYLIZE_GATEWAY_PORT?)"),
        ("STYLIZE_MODEL", "(did you mean STYLIZE_MODELS?)"),
        ("stylize_redis_ulr", "(did you mean STYLIZE_REDIS_URL?)"),
        ("STYLIZE_GATEWAY_REDIS_URL", "(did you mean STYLIZE_REDIS_URL?)"),
        ("STYLIZE_GATEWAY_URLKEY_FILE", "(did you mean STYLIZE_GATEWAY_URL_KEY?)"),
        ("STYLIZE_FOO", ""),
        ("STYLIZE_GATEWAY_XYZ", ""),
    ],
)
def test_an_unknown_setting_is_told_with_the_one_it_seems_to_mean(
    variable: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(GatewaySettings, monkeypatch, **{variable: "1"})
    assert said == f"unknown setting {variable} {told}".strip()


def test_every_number_among_the_settings_has_a_range_to_tell() -> None:
    for settings in (GatewaySettings, WorkerSettings):
        for name, field in settings.model_fields.items():
            if field.annotation in (int, float):
                assert len(field.metadata) == 2, name
