"""An S3 that refuses one picture, to be read or to be written, fails that job and holds up nobody (B1)."""

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from deploy.embedded.demo import EXAMPLES
from tests.faults.harness.stack import PATIENT, Stack, stack
from tests.support.faulty_s3 import FaultyS3, Rule, faulty_s3
from tests.support.service import quick, until

pytestmark = pytest.mark.xdist_group("workers")
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with faulty_s3(f"http://{host}:{port}") as relay, pytest.MonkeyPatch.context() as patched:
        for name, value in KEYS.items():
            patched.setenv(name, value)
        boto3.client("s3", endpoint_url=relay.url, region_name="us-east-1").create_bucket(Bucket="pictures")
        yield relay
    server.stop()


def test_one_refused_picture_of_each_kind_among_good_jobs(s3: FaultyS3) -> None:
    environ = PATIENT | {"STYLIZE_BLOB_URL": "s3://pictures", "STYLIZE_S3_ENDPOINT_URL": s3.url, **KEYS}
    with stack(workers=1, environ=environ) as running:
        busy = running.post("a long one", steps=150)
        until(lambda: running.claimed(busy), "the worker is busy while the others gather")
        unread, unwritten = post_another_picture(running), running.post("a house that is not taken")
        good = [running.post("a tree", seed=seed) for seed in range(3)]
        (unreadable,) = running.record(unread).request.style_images
        with s3.refusing(Rule(("GET",), unreadable), Rule(("PUT",), f"jobs/{unwritten}/")):
            for job_id in (busy, *good):
                running.succeeded(job_id, attempts=1)
            ended = [running.finished(job_id) for job_id in (unread, unwritten)]
    assert [(job["state"], job["error"]["code"], job["attempts"]) for job in ended] == [("failed", "blob", 3)] * 2


def post_another_picture(running: Stack) -> str:
    """Have a job accepted whose style picture no other job uses; return its id."""
    file = {"style_image": ("style.png", (EXAMPLES / "content.png").read_bytes(), "image/png")}
    accepted = running.client.post("/stylize", data=quick(), files=file)
    assert accepted.status_code == 202, accepted.text
    return str(accepted.json()["id"])
