"""What people ask for stays out of the logs, whatever becomes of the job."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from deploy.embedded.redis import RedisProcess
from deploy.embedded.stack import python
from tests.support.gateway import Gateway
from tests.support.service import PATIENCE

pytestmark = pytest.mark.xdist_group("service")
PROMPT = "a very private garden"


def test_no_prompt_is_logged(tmp_path: Path) -> None:
    environ = {"STYLIZE_LOG_FORMAT": "json", "STYLIZE_LOG_LEVEL": "debug"}
    with RedisProcess(tmp_path / "redis") as redis, Gateway(tmp_path, redis, environ) as gateway:
        shared = {
            **os.environ,
            **gateway.environ,
            "OMP_NUM_THREADS": "1",
        }
        shared["STYLIZE_MODELS"] = "tiny-sd15"
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(python("workers"), env=shared, stderr=log, stdout=log)
        try:
            good = gateway.accepted({"prompt": PROMPT, "steps": 1})["id"]
            bad = gateway.post({"prompt": PROMPT, "steps": -1})
            assert bad.status_code == 422
            deadline = time.monotonic() + PATIENCE
            while (state := gateway.client.get(f"/jobs/{good}").json()["state"]) in ("queued", "running"):
                assert time.monotonic() < deadline, (tmp_path / "worker.log").read_text()
                time.sleep(0.1)
        finally:
            worker.terminate()
            worker.wait(PATIENCE)
        assert state == "succeeded"
    logged = (tmp_path / "worker.log").read_text() + gateway.log.read_text()
    assert PROMPT not in logged
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert {"worker", "gateway"} <= {line["process"] for line in lines}
    assert [line["message"] for line in lines if line.get("job_id") == good][-1] == f"job {good} published"
