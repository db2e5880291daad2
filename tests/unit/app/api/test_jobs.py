"""The routes of jobs and their pictures."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from workers.contract.jobs.models import Failure, Job, Progress, StylizeRequest


def other_owners_job(gateway: Gateway) -> str:
    request = StylizeRequest(
        method="signal-leak", model="tiny-sd15", seed=1, width=64, height=64, steps=1, guidance_scale=1, strength=1
    )
    new = Job(id=uuid4().hex, owner="somebody", queue="tiny-sd15", request=request, digest="0" * 64)
    return gateway.store.submit(new).job.id


def test_a_job_from_queued_to_succeeded(gateway: Gateway) -> None:
    job = gateway.accepted({"priority": "batch"})
    path = job["links"]["self"]
    waiting = gateway.client.get(path).json()
    assert (waiting["state"], waiting["attempts"]) == ("queued", 0)
    assert waiting["queue"]["position"] >= 0
    claim = gateway.claimed(job["id"])
    gateway.store.beat(claim, Progress(stage="denoise", step=1, steps=2, fraction=0.5))
    running = gateway.client.get(path).json()
    assert (running["state"], running["queue"]["position"], running["queue"]["eta_start_seconds"]) == (
        "running",
        None,
        0,
    )
    assert running["warnings"] == []
    assert running["progress"] == {"stage": "denoise", "step": 1, "steps": 2, "fraction": 0.5}
    gateway.store.release(claim)
    png = encoded(picture())
    gateway.finish(job["id"], png, ("prompt: not read",))
    done = gateway.client.get(path).json()
    assert done["warnings"] == ["prompt: not read"]
    assert (done["state"], done["gpu_seconds"], done["cache"]) == ("succeeded", 1.5, {"style": "miss"})
    assert done["timings"]["denoise"] == 1.5
    assert done["progress"]["fraction"] == 1.0, "whatever the last beat said"
    assert running["links"]["cancel"] == f"{path}?cancel_only=true"
    assert running["links"]["zip"] is None
    assert done["links"] == {
        "self": path,
        "events": f"{path}/events",
        "cancel": None,
        "delete": path,
        "zip": f"{path}/zip",
    }
    (image,) = done["images"]
    assert image["sha256"] == hashlib.sha256(png).hexdigest()
    assert image["expires_at"] is None
    assert (waiting["expires_at"], running["expires_at"]) == (None, None)
    kept = datetime.fromisoformat(done["expires_at"]) - datetime.fromisoformat(done["finished_at"])
    assert kept == timedelta(hours=24), "the default retention"
    assert gateway.client.get(image["url"]).content == png


def test_a_failed_job_says_why(gateway: Gateway) -> None:
    job = gateway.accepted()
    gateway.store.fail(gateway.claimed(job["id"]), Failure(code="out-of-memory", detail="too large"), retry=False)
    failed = gateway.client.get(job["links"]["self"]).json()
    assert failed["state"] == "failed"
    assert failed["error"] == {"type": "urn:stylize:job:out-of-memory", "code": "out-of-memory", "detail": "too large"}


def test_cancel_is_idempotent_and_leaves_a_finished_job(gateway: Gateway) -> None:
    path = gateway.accepted()["links"]["self"]
    cancel = gateway.client.get(path).json()["links"]["cancel"]
    assert [gateway.client.delete(cancel).json()["state"] for _ in range(2)] == ["canceled", "canceled"]
    job = gateway.accepted()
    gateway.finish(job["id"], encoded(picture()))
    assert gateway.client.delete(job["links"]["cancel"]).json()["state"] == "succeeded"


def test_the_picture_is_served_as_what_it_is(gateway: Gateway) -> None:
    job = gateway.accepted()
    done = gateway.finish(job["id"], png := encoded(picture(seed=5)))
    url = f"/jobs/{done.id}/images/0"
    answer = gateway.client.get(url)
    assert answer.content == png
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == f'attachment; filename="{done.id}-0.png"'
    assert answer.headers["etag"] == f'"{hashlib.sha256(png).hexdigest()}"'
    assert "immutable" in answer.headers["cache-control"]
    again = gateway.client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    gateway.blobs.delete([done.result.images[0].blob] if done.result else [])
    assert gateway.client.get(url).status_code == 404


@pytest.mark.parametrize(
    "path", ["/jobs/unknown", "/jobs/{other}", "/jobs/{other}/images/0", "/jobs/{own}/images/0", "/jobs/{own}/images/5"]
)
def test_what_is_not_there_or_not_ones_own_is_404(gateway: Gateway, path: str) -> None:
    answer = gateway.client.get(path.format(other=other_owners_job(gateway), own=gateway.accepted()["id"]))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_another_callers_job_cannot_be_canceled(gateway: Gateway) -> None:
    assert gateway.client.delete(f"/jobs/{other_owners_job(gateway)}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/%20",
        "/jobs/" + "a" * 65,
        "/jobs?limit=0",
        "/jobs?limit=101",
        "/jobs?state=done",
        "/jobs?cursor=x",
        "/jobs/a/images/-1",
        "/jobs/a/images/x",
    ],
)
def test_malformed_addresses_are_422(gateway: Gateway, path: str) -> None:
    answer = gateway.client.get(path)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("#/")


def test_jobs_are_listed_newest_first_a_page_at_a_time(gateway: Gateway) -> None:
    made = [gateway.accepted()["id"] for _ in range(5)]
    listed: list[str] = []
    page: dict[str, str | None] = {"cursor": ""}
    while (cursor := page["cursor"]) is not None and len(listed) < 5:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        answer = gateway.client.get("/jobs", params=query).json()
        listed += [job["id"] for job in answer["jobs"]]
        page = answer
    assert listed[:5] == made[::-1]
    canceled = gateway.client.delete(f"/jobs/{made[0]}").json()
    assert canceled["id"] in [job["id"] for job in gateway.client.get("/jobs?state=canceled&limit=100").json()["jobs"]]


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    environ = {
        "STYLIZE_GATEWAY_URL_KEY": "k" * 32,
        "STYLIZE_GATEWAY_URL_SECONDS": "3600",
        "STYLIZE_GATEWAY_PUBLIC_URL": "https://stylize.example/base/",
    }
    folder: Path = tmp_path_factory.mktemp("signing")
    with Gateway(folder, gateway_redis, environ) as running:
        yield running


def test_only_the_address_handed_out_opens_the_picture(signing: Gateway) -> None:
    done = signing.finish(signing.accepted()["id"], png := encoded(picture()))
    (image,) = signing.client.get(f"/jobs/{done.id}").json()["images"]
    public, _, path = image["url"].partition("/base")
    assert public == "https://stylize.example"
    assert image["expires_at"]
    assert signing.client.get(path).content == png
    for wrong in (
        path.partition("?")[0],
        path[:-1] + ("0" if path[-1] != "0" else "1"),
        path.replace("expires=1", "expires=2"),
    ):
        assert signing.client.get(wrong).status_code == 404


def test_a_cut_connection_while_uploading_harms_nobody(gateway: Gateway) -> None:
    def upload() -> None:
        with socket.create_connection(("127.0.0.1", gateway.port)) as line:
            line.sendall(
                b"POST /stylize HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                b"Content-Length: 1000000\r\n\r\n"
                b'--x\r\nContent-Disposition: form-data; name="style_image"; filename="a"\r\n\r\n' + bytes(100_000)
            )

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gateway.accepted()
