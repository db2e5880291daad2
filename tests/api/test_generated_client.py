"""A client that a public generator writes from the served OpenAPI document alone runs a job to its picture."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from deploy.embedded.demo import EXAMPLES
from tests.support.service import Service, service

pytestmark = pytest.mark.xdist_group("service")

GENERATOR = Path(sys.prefix) / "generator" / "bin" / "python"
FILES = ("image/png", "image/jpeg", "image/webp", "application/zip")
PROGRAM = """
import hashlib, io, json, sys, time
from pathlib import Path
from made import Client
from made.api.jobs import read_image, read_job
from made.api.stylize import stylize
from made.models import JobView, ProblemView, StylizeFilesBody, StylizeFilesBodyMethod
from made.types import File

client = Client(base_url=sys.argv[1])
reference = File(payload=Path(sys.argv[2]).open("rb"), file_name="style.png", mime_type="image/png")
body = StylizeFilesBody(
    style_image=[reference], prompt="a house", method=StylizeFilesBodyMethod.SIGNAL_LEAK,
    width=64, height=64, steps=2, seed=7,
)
job = stylize.sync(client=client, body=body, prefer="wait=1")
while job.state not in ("succeeded", "failed", "canceled"):
    time.sleep(0.1)
    job = read_job.sync(job.id, client=client)
assert isinstance(job, JobView), job
assert job.state == "succeeded", job.error
picture = read_image.sync_detailed(job.id, 0, client=client).content
Path(sys.argv[3]).write_bytes(picture)
missing = read_job.sync("nothing", client=client)
assert isinstance(missing, ProblemView), missing
print(json.dumps({"job": job.id, "sha256": job.images[0].sha256, "seed": job.recipe.seed, "missing": missing.type_}))
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("models")) as started:
        yield started


def generated(running: Service, folder: Path) -> str:
    """Have the client written into a folder; return what the generator said."""
    (folder / "openapi.json").write_text(running.client.get("/openapi.json").raise_for_status().text)
    overrides = dict.fromkeys(FILES, "application/octet-stream")
    (folder / "config.json").write_text(json.dumps({"content_type_overrides": overrides, "post_hooks": []}))
    command = [str(GENERATOR), "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]
    command += ["--path", "openapi.json", "--config", "config.json", "--output-path", "made"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_runs_a_job_to_its_picture(running: Service, tmp_path: Path) -> None:
    assert "warning" not in generated(running, tmp_path).lower()
    url, style, target = f"http://127.0.0.1:{running.port}", EXAMPLES / "style.png", tmp_path / "picture.png"
    done = subprocess.run(
        [str(GENERATOR), "-c", PROGRAM, url, str(style), str(target)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == told["sha256"]
    assert Image.open(BytesIO(target.read_bytes())).size == (64, 64)
    assert told["seed"] == 7
    assert told["missing"] == "urn:stylize:problem:not-found"
    assert running.job(told["job"])["state"] == "succeeded"
