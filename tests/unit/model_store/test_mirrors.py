"""An S3 mirror (a real S3 server on loopback) and a local folder."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from model_store.errors import AccessDenied, DigestMismatch, ModelNotFound, SourceUnavailable
from model_store.fetch.bucket import Bucket
from model_store.fetch.folder import Folder
from model_store.fetch.hub import Hub
from model_store.fetch.open import open_source
from model_store.fetch.progress import Silent
from model_store.fetch.pull import pull
from model_store.fetch.source import RemoteFile
from model_store.fetch.transfer import partial_of
from tests.support.hub_server import HubState
from tests.unit.model_store.conftest import Register

WHOLE = random.Random(8).randbytes(3_000_000)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3", endpoint_url=endpoint)
    yield client
    client.close()


@pytest.fixture
def mirror(client: Any, tmp_path: Path) -> Bucket:
    name = f"mirror-{abs(hash(tmp_path)) % 10**9}"
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="deep/them/thing/unet/weights.safetensors", Body=WHOLE)
    client.put_object(Bucket=name, Key="deep/them/thing/unet/config.json", Body=b"{}")
    return Bucket(client, name, "/deep/")


def test_a_bucket_is_pulled_pinned_and_enforced(mirror: Bucket, client: Any, store: Path, register: Register) -> None:
    register("thing", "unet/*")
    pull(["thing"], store, mirror, watcher=Silent())
    final = store / "models" / "thing" / "unet" / "weights.safetensors"
    assert final.read_bytes() == WHOLE
    final.unlink()
    client.put_object(Bucket=mirror._bucket, Key="deep/them/thing/unet/weights.safetensors", Body=WHOLE[::-1])
    with pytest.raises(DigestMismatch, match=r"thing/unet/weights\.safetensors"):
        pull(["thing"], store, mirror, watcher=Silent())
    assert not final.exists()


def test_a_bucket_resumes(mirror: Bucket, store: Path, register: Register) -> None:
    register("thing", "unet/weights.safetensors")
    remote = mirror.stat("them/thing", "main", "unet/weights.safetensors")
    final = store / "models" / "thing" / "unet" / "weights.safetensors"
    final.parent.mkdir(parents=True)
    partial_of(final, remote.tag).write_bytes(WHOLE[:2_000_000])
    starts = []

    class Watch(Silent):
        def begin(self, name: str, size: int, done: int) -> None:
            starts.append((size, done))

    pull(["thing"], store, mirror, watcher=Watch())
    assert starts == [(3_000_000, 2_000_000)]
    assert final.read_bytes() == WHOLE


def test_a_bucket_without_the_file_or_that_does_not_answer(mirror: Bucket, client: Any) -> None:
    with pytest.raises(ModelNotFound, match="s3://"):
        mirror.stat("them/other", "main", "x")
    with pytest.raises(ModelNotFound):
        Bucket(client, "no-such-bucket").names("them/thing", "main")
    away = open_source("s3://bucket/deep", s3_endpoint_url="http://127.0.0.1:9", timeout_seconds=0.2)
    with pytest.raises(SourceUnavailable, match="s3://bucket/deep/them"):
        away.stat("them/thing", "main", "x")


def test_a_bucket_that_changed_since_it_was_asked(mirror: Bucket) -> None:
    remote = mirror.stat("them/thing", "main", "unet/config.json")
    stale = RemoteFile(remote.repository, remote.revision, remote.path, remote.size, '"0"')
    with pytest.raises((SourceUnavailable, AccessDenied)), mirror.read(stale, 0) as stream:
        list(stream.blocks)


def test_a_folder_is_a_source_and_must_hold_what_the_hub_had(
    hub: HubState, store: Path, register: Register, tmp_path: Path
) -> None:
    register("thing", "*.safetensors")
    hub.files = {("them/thing", "weights.safetensors"): WHOLE}
    pull(["thing"], store, Hub(endpoint=hub.url, timeout_seconds=60), watcher=Silent())
    final = store / "models" / "thing" / "weights.safetensors"
    final.unlink()
    offline = tmp_path / "usb" / "them" / "thing"
    offline.mkdir(parents=True)
    with pytest.raises(ModelNotFound, match="weights"):
        pull(["thing"], store, open_source(str(tmp_path / "usb")), watcher=Silent())
    (offline / "weights.safetensors").write_bytes(WHOLE[:-1] + b"x")
    with pytest.raises(DigestMismatch):
        pull(["thing"], store, Folder(tmp_path / "usb"), watcher=Silent())
    (offline / "weights.safetensors").write_bytes(WHOLE)
    pull(["thing"], store, Folder(tmp_path / "usb"), watcher=Silent())
    assert final.read_bytes() == WHOLE
    with pytest.raises(ModelNotFound, match="nor a folder"):
        open_source(str(tmp_path / "absent"))
