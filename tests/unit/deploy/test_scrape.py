"""A live scrape: every metric of the design by its exact name, well formed, with bounded labels."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.exposition import families, faults, samples
from tests.support.observed import BEYOND_THE_DESIGN, GATEWAYS_OWN, WORKERS_OWN, Observed, observed

pytestmark = pytest.mark.xdist_group("service")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    with observed(tmp_path_factory.mktemp("models")) as found:
        yield found


def test_the_gateway_tells_what_the_design_says(seen: Observed) -> None:
    assert set(families(seen.gateway_text())) == GATEWAYS_OWN | BEYOND_THE_DESIGN


def test_the_worker_tells_what_the_design_says(seen: Observed) -> None:
    assert set(families(seen.worker_text())) == WORKERS_OWN


def test_both_are_well_formed(seen: Observed) -> None:
    assert faults(seen.gateway_text()) == []
    assert faults(seen.worker_text()) == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus is not installed")
def test_promtool_finds_no_fault_either(seen: Observed) -> None:
    for text in (seen.gateway_text(), seen.worker_text()):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_numbers_are_those_of_the_jobs(seen: Observed) -> None:
    found = samples(seen.gateway_text()) | samples(seen.worker_text())

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    succeeded = {"method": "signal-leak", "state": "succeeded", "reason": "none"}
    assert value("stylize_jobs_finished_total", **succeeded) == 2
    assert value("stylize_jobs_finished_total", **succeeded | {"state": "canceled"}) == 1
    assert value("stylize_queue_wait_seconds_count", method="signal-leak") >= 2
    assert value("stylize_job_duration_seconds_count", method="signal-leak", resolution="256x256") == 2
    assert value("stylize_stage_duration_seconds_count", method="signal-leak", stage="publish") == 2
    assert value("stylize_denoise_step_seconds_count", method="signal-leak", resolution="256x256") >= 4
    assert value("stylize_style_cache_requests_total", method="signal-leak", result="hit") >= 1
    assert value("stylize_gpu_seconds_total", method="signal-leak") > 0
    assert value("stylize_models_resident") == 1
    assert value("stylize_model_load_seconds_count", model="tiny-sd15") == 1
    assert value("stylize_style_cache_bytes", tier="host") > 0
    assert value("stylize_workers", state="idle") + value("stylize_workers", state="busy") == 1
    assert value("stylize_worker_lost_total") == value("stylize_redeliveries_total") == 0
    assert value("stylize_redis_memory_bytes", kind="used") > 0
    assert value("stylize_blob_disk_bytes", kind="free") <= value("stylize_blob_disk_bytes", kind="size")
