"""Workers of the embedded stack: each with its name and its own port for metrics."""

import pytest

from deploy.embedded.stack import numbered


@pytest.mark.parametrize(("first", "third"), [("9100", "9102"), ("0", "0"), ("none", "none")])
def test_ports_follow_one_another(first: str, third: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZE_WORKER_METRICS_PORT", first)
    assert numbered(3) == {"STYLIZE_WORKER_ID": "worker-3", "STYLIZE_WORKER_METRICS_PORT": third}


def test_metrics_are_off_unless_asked_for() -> None:
    assert numbered(1)["STYLIZE_WORKER_METRICS_PORT"] == "0"
