"""Servers that speak less of S3 than AWS does, and addresses that boto3 does not take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded.redis import RedisProcess
from tests.integration.blobs.test_blobs import PICTURE, SHA, put
from tests.support.faulty_s3 import FaultyS3, Rule
from workers.contract.blobs import input_name, open, open_blobs, output_name
from workers.contract.blobs.open import s3_client
from workers.contract.errors import BlobRefused, BlobStoreUnavailable, Misconfigured
from workers.contract.runtime.settings import Settings
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[3]


@pytest.fixture
def given(faulty: FaultyS3, s3_settings: Settings) -> Settings:
    """Settings of the server behind the relay."""
    return s3_settings.model_copy(update={"s3_endpoint_url": faulty.url})


def test_a_server_without_the_newer_checksums(faulty: FaultyS3, given: Settings) -> None:
    unknown = Rule(("PUT",), "", 501, "NotImplemented", "no such header", header="x-amz-sdk-checksum-algorithm")
    blobs = open_blobs(given)
    with faulty.refusing(unknown):
        blobs.probe()
        put(blobs, input_name(SHA))
        assert blobs.get(input_name(SHA)) == PICTURE


@pytest.mark.parametrize(
    ("status", "code"), [(400, "MissingContentMD5"), (400, "InvalidRequest"), (501, "NotImplemented"), (405, "")]
)
def test_a_server_that_cannot_delete_many_deletes_one_by_one(
    faulty: FaultyS3, given: Settings, status: int, code: str
) -> None:
    blobs = open_blobs(given)
    with faulty.refusing(Rule(("POST",), "delete", status, code)):
        blobs.probe()
        assert list(blobs.list("probes/")) == []
        names = [output_name("job1", 1, n, "png") for n in range(3)]
        for name in names:
            put(blobs, name)
        blobs.delete([*names, "jobs/job1/9/0.png"])
        assert list(blobs.list("jobs/")) == []


def test_what_is_refused_is_told_in_the_servers_words_and_keeps_no_other(faulty: FaultyS3, given: Settings) -> None:
    blobs = open_blobs(given)
    names = [output_name("job1", 1, n, "png") for n in range(3)]
    for name in names:
        put(blobs, name)
    with (
        faulty.refusing(Rule(("POST", "DELETE"), "delete"), Rule(("DELETE",), names[0], 403, "AccessDenied", "locked")),
        pytest.raises(BlobRefused, match=rf"{names[0]} \(AccessDenied: locked\)"),
    ):
        blobs.delete(names)
    assert [stored.name for stored in blobs.list("jobs/")] == names[:1]


def test_a_server_that_refuses_to_delete_is_misconfigured_and_keeps_one_probe(
    faulty: FaultyS3, given: Settings
) -> None:
    blobs = open_blobs(given)
    with faulty.refusing(Rule(("POST", "DELETE"), "", message="no rights to delete")):
        for _ in range(3):
            with pytest.raises(Misconfigured, match="AccessDenied: no rights to delete"):
                blobs.probe()
    assert len(list(blobs.list("probes/"))) == 1


def test_what_a_server_does_not_implement_is_told_in_its_words(faulty: FaultyS3, given: Settings) -> None:
    with (
        faulty.refusing(Rule(("PUT",), "", 501, "NotImplemented", "a header implies what is not there")),
        pytest.raises(BlobStoreUnavailable, match="NotImplemented: a header implies what is not there"),
    ):
        open_blobs(given).probe()


def test_a_put_without_an_answer_ends_before_its_worker_is_taken_for_hung() -> None:
    put_and_look = 2 * open.ATTEMPTS * (open.CONNECT_SECONDS + open.ANSWER_SECONDS)
    assert put_and_look < WorkerSettings().worker_step_timeout_seconds


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_endpoint_is_that_of_aws(empty: str) -> None:
    assert "amazonaws.com" in s3_client(Settings(s3_endpoint_url=empty)).meta.endpoint_url


@pytest.mark.parametrize(
    "url", ["http://minio", "https://s3.example.com:9000/", " http://[::1]:9000", "HTTP://10.0.0.1"]
)
def test_an_endpoint_that_is_one(url: str) -> None:
    assert s3_client(Settings(s3_endpoint_url=url)).meta.endpoint_url == url.strip()


@pytest.mark.parametrize(
    "url",
    [
        "http://my_s3:9000",
        "minio:9000",
        "http://",
        "s3://bucket",
        "http://a b:9000",
        "http://minio:99999",
        "http://minio:9000?x=y",
        "http://minio:9000#x",
        "http://-minio",
        "http://[::1",
        "http://ann:secret@minio",
        "http://é",
        "http://minio\nx",
    ],
)
def test_an_endpoint_that_is_none_is_refused_in_a_line(url: str) -> None:
    with pytest.raises(Misconfigured, match="STYLIZE_S3_ENDPOINT_URL") as refusal:
        open_blobs(Settings(blob_url="s3://bucket", s3_endpoint_url=url))
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("program", ["app", "workers.sweeper", "deploy.compose.make_bucket"])
def test_a_program_ends_with_one_line_for_such_an_endpoint(program: str, redis_child: RedisProcess) -> None:
    environ = {
        "STYLIZE_REDIS_URL": redis_child.url,
        "STYLIZE_BLOB_URL": "s3://bucket",
        "STYLIZE_S3_ENDPOINT_URL": "http://my_s3:9000",
        "STYLIZE_MODELS": "sd15",
        "STYLIZE_GATEWAY_PORT": "0",
    }
    command = [sys.executable, "-m", program]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "STYLIZE_S3_ENDPOINT_URL: 'http://my_s3:9000' is not" in line
