"""A real Redis and a real S3 server for every test process, a key prefix or a bucket for every test."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from redis import Redis

from deploy.embedded.redis import RedisProcess
from tests.support.faulty_s3 import FaultyS3, faulty_s3
from workers.contract.blobs import BlobStore, open_blobs
from workers.contract.jobs.models import Job, PrecomputeRequest, Priority, StylizeRequest
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.runtime.settings import Settings

PRECOMPUTE = PrecomputeRequest(
    method="style-id", model="sd15", seed=0, width=64, height=64, steps=2, guidance_scale=7.5, strength=0.5
)


def new_job(
    job_id: str | None = None,
    *,
    owner: str = "ann",
    queue: str = "sd15",
    priority: Priority = "interactive",
    digest: str = "0" * 64,
    styles: tuple[str, ...] = (),
    **more: object,
) -> Job:
    """Return a job to submit; `more` are further fields of Job."""
    request = StylizeRequest(
        method="signal-leak",
        model="sd15",
        style_images=styles,
        seed=1,
        width=64,
        height=64,
        steps=2,
        guidance_scale=7.5,
        strength=0.5,
    )
    fields = {"id": job_id or secrets.token_hex(8), "owner": owner, "queue": queue, "priority": priority}
    return Job.model_validate({"request": request, **fields, "digest": digest, **more})


@pytest.fixture(scope="session")
def redis_child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as child:
        yield child


@pytest.fixture
def redis(redis_child: RedisProcess) -> Iterator[Redis]:
    with connect(redis_child.url) as client:
        yield client


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis, lease_seconds=600, prefix=f"{secrets.token_hex(4)}:")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_settings(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = f"bucket-{secrets.token_hex(6)}"
    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=bucket)
    return Settings(blob_url=f"s3://{bucket}/some/prefix", s3_endpoint_url=s3_server)


@pytest.fixture
def faulty(s3_server: str) -> Iterator[FaultyS3]:
    with faulty_s3(s3_server) as relay:
        yield relay


@pytest.fixture(params=["disk", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "s3":
        return open_blobs(request.getfixturevalue("s3_settings"))
    return open_blobs(Settings(blob_url=f"file:{tmp_path / 'blobs'}"))
