"""The route of previews: what the worker shows, to its owner, while the job runs."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from stylize_client import Client

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.unit.app.api.test_events import following
from tests.unit.app.api.test_jobs import other_owners_job
from workers.contract.jobs.previews import PreviewStore
from workers.contract.runtime.redis import connect
from workers.worker.threads.previews import jpeg


@pytest.fixture(scope="module")
def previews(gateway_redis: RedisProcess) -> Iterator[PreviewStore]:
    with connect(gateway_redis.url) as client:
        yield PreviewStore(client)


def drawn(shade: str) -> bytes:
    return jpeg(Image.new("RGB", (16, 8), shade))


def test_a_running_job_shows_its_newest_preview(gateway: Gateway, previews: PreviewStore) -> None:
    job = gateway.accepted()
    path = job["links"]["self"]
    assert job["preview"] is None
    assert gateway.client.get(f"{path}/preview").status_code == 404
    claim = gateway.claimed(job["id"])
    for step, shade in ((1, "red"), (2, "blue")):
        previews.show(claim, step, drawn(shade))
        address = gateway.client.get(path).json()["preview"]
        assert address == f"{path}/preview?step={step}"
        answer = gateway.client.get(address)
        assert (answer.status_code, answer.content) == (200, drawn(shade))
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"] == "private, no-cache"
        assert Image.open(BytesIO(answer.content)).size == (16, 8)
        known = {"If-None-Match": answer.headers["etag"]}
        assert gateway.client.get(address, headers=known).status_code == 304
    gateway.store.release(claim)
    gateway.finish(job["id"], encoded(picture()))
    assert gateway.client.get(path).json()["preview"] is None
    gone = gateway.client.get(address)
    assert (gone.status_code, gone.headers["content-type"]) == (404, "application/problem+json")


def test_a_stream_tells_of_each_preview(gateway: Gateway, previews: PreviewStore) -> None:
    job = gateway.accepted()
    claim = gateway.claimed(job["id"])
    with following(gateway, job["id"]) as (_, events):
        assert next(events)["data"]["preview"] is None
        for step in (1, 2):
            previews.show(claim, step, drawn("red"))
            event = next(events)
            assert event["data"]["preview"] == f"/jobs/{job['id']}/preview?step={step}"
    with following(gateway, job["id"], event["id"]) as (_, events):
        gateway.client.delete(job["links"]["self"])
        assert next(events)["data"]["state"] == "canceling", "the preview that was told is not told again"


def test_the_client_fetches_previews(gateway: Gateway, previews: PreviewStore) -> None:
    with Client(f"http://127.0.0.1:{gateway.port}") as client:
        job = client.submit("signal-leak", prompt="a house", style_images=[encoded(picture())])
        assert client.get_preview(job) is None
        claim = gateway.claimed(job.id)
        previews.show(claim, 1, drawn("green"))
        assert client.get_preview(job) == drawn("green")
        client.cancel(job)
        gateway.store.canceled(claim)
        assert client.get_preview(job.id) is None


def test_another_callers_preview_is_404(gateway: Gateway, previews: PreviewStore) -> None:
    job_id = other_owners_job(gateway)
    previews.show(gateway.claimed(job_id), 1, drawn("red"))
    assert previews.get(job_id) == drawn("red")
    assert gateway.client.get(f"/jobs/{job_id}/preview").status_code == 404
    gateway.store.cancel(job_id)


def test_where_addresses_are_signed_that_of_a_preview_is_too(
    tmp_path: Path, gateway_redis: RedisProcess, previews: PreviewStore
) -> None:
    with Gateway(tmp_path, gateway_redis, {"STYLIZE_GATEWAY_URL_KEY": "k" * 32}) as signing:
        job = signing.accepted()
        previews.show(signing.claimed(job["id"]), 1, drawn("red"))
        address = signing.client.get(job["links"]["self"]).json()["preview"]
        assert signing.client.get(address).content == drawn("red")
        assert signing.client.get(address.replace("step=1", "step=2")).status_code == 200, "the step is only a mark"
        assert signing.client.get(address.split("&")[0]).status_code == 404
        signed = address.partition("&")[2]
        assert signing.client.get(f"{job['links']['self']}/images/0?{signed}").status_code == 404, "of the preview only"
        with following(signing, job["id"]) as (_, events):
            known = next(events)["id"]
        with following(signing, job["id"], known) as (_, events):
            signing.client.delete(job["links"]["self"])
            assert next(events)["data"]["state"] == "canceling", "another signature is no news"
