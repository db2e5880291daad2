"""Styles prepared in advance: asked for, done by workers, told; once, by their owner only. The test is the worker."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.unit.app.api.test_styles import references, saved, style_of
from workers.contract.jobs.models import Failure, Job, Result, State
from workers.contract.jobs.results import WorkerStatus
from workers.contract.runtime.redis import connect
from workers.contract.styles.precompute import PrecomputeStore, precompute_key
from workers.contract.styles.store import StyleStore
from workers.techniques import registry

MODEL = "tiny-sd15"


@pytest.fixture
def style(gateway: Gateway) -> Iterator[dict[str, Any]]:
    made = saved(gateway, 6, style_weights="1,3,1,2,3,2")
    yield made
    gateway.client.delete(f"/styles/{made['id']}")


def precompute(gateway: Gateway, style_id: str, *methods: str, **fields: str) -> Any:
    body = [("method", (None, method)) for method in methods] + [(k, (None, v)) for k, v in fields.items()]
    return gateway.client.post(f"/styles/{style_id}/precompute", files=body)


def stands(gateway: Gateway, style_id: str, method: str = "signal-leak", model: str = MODEL) -> dict[str, Any]:
    known = gateway.client.get(f"/styles/{style_id}").json()["prepared"]
    (found,) = [one for one in known if (one["method"], one["model"]) == (method, model)]
    return dict(found)


def job_of(gateway: Gateway, view: dict[str, Any]) -> Job:
    job = gateway.store.get(view["job"])
    assert job is not None
    return job


def test_it_is_a_job_of_the_style_without_pictures(gateway: Gateway, style: dict[str, Any]) -> None:
    assert {(one["state"], one["job"]) for one in style["prepared"]} == {("cold", None)}
    answer = precompute(gateway, style["id"], "signal-leak", "injection")
    assert answer.status_code == 202, answer.text
    view = stands(gateway, style["id"])
    assert view["state"] == "preparing"
    job = job_of(gateway, view)
    names = [reference["sha256"] for reference in style["references"]]
    assert job.request.style_images == (names[1], names[3], names[4], names[5])
    assert job.request.style_weights == (3.0, 2.0, 3.0, 2.0)
    assert (job.kind, job.priority, job.state) == ("precompute", "batch", State.QUEUED)
    other = job_of(gateway, stands(gateway, style["id"], "style-id"))
    assert other.request.style_images == (names[1],)
    ordinary = gateway.accepted({"width": None, "height": None, "steps": None})["recipe"]
    settings = ("width", "height", "steps", "guidance_scale", "strength", "params")
    assert [job.request.model_dump(mode="json")[name] for name in settings] == [ordinary[name] for name in settings]
    listed = {job["id"] for job in gateway.client.get("/jobs?limit=100").json()["jobs"]}
    assert not listed & {view["job"], other.id}
    assert gateway.client.get(f"/jobs/{view['job']}").json()["images"] == []
    assert gateway.client.get(f"/jobs/{view['job']}/images/0").status_code == 404


def test_what_is_prepared_or_being_prepared_is_not_asked_for_again(gateway: Gateway, style: dict[str, Any]) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: precompute(gateway, style["id"], "signal-leak"), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    jobs = {one["job"] for answer in answers for one in answer.json()["prepared"] if one["job"]}
    assert len(jobs) == 1
    claim = gateway.claimed(jobs.pop())
    assert stands(gateway, style["id"])["state"] == "preparing"
    assert gateway.store.commit(claim, Result(images=()))
    assert stands(gateway, style["id"])["state"] == "ready"
    assert (
        precompute(gateway, style["id"], "signal-leak").json()["prepared"]
        == (gateway.client.get(f"/styles/{style['id']}").json()["prepared"])
    )
    assert stands(gateway, style["id"])["job"] == claim.job.id


def test_the_workers_word_counts(gateway: Gateway, style: dict[str, Any]) -> None:
    precompute(gateway, style["id"], "signal-leak")
    claim = gateway.claimed(stands(gateway, style["id"])["job"])
    failure = Failure(code="weights-missing", detail="run: stylize models pull x")
    gateway.store.fail(claim, failure, retry=False)
    assert stands(gateway, style["id"]) == {
        **{"method": "signal-leak", "model": MODEL, "state": "cold", "workers": 0, "job": claim.job.id}
    }
    told = PrecomputeStore(connect(gateway.environ["STYLIZE_REDIS_URL"]))
    told.report("w1", {precompute_key(claim.job.request)}, 60)
    assert stands(gateway, style["id"])["state"] == "cold", "nobody knows such a worker"
    gateway.store.announce(WorkerStatus(id="w1", queues=(MODEL,), models=(MODEL,), state="idle"), 60)
    assert (stands(gateway, style["id"])["state"], stands(gateway, style["id"])["workers"]) == ("ready", 1)
    told.report("w1", set(), 60)
    gateway.store.announce(WorkerStatus(id="w1", queues=(MODEL,), state="stopping"), 0.001)
    again = precompute(gateway, style["id"], "signal-leak")
    assert again.status_code == 202
    assert stands(gateway, style["id"])["state"] == "preparing"
    assert stands(gateway, style["id"])["job"] != claim.job.id


def test_a_style_can_be_saved_and_prepared_at_once(gateway: Gateway) -> None:
    made = saved(gateway, 1, precompute="signal-leak,style-aligned", model="tiny-sdxl")
    state = {(one["method"], one["model"]): one["state"] for one in made["prepared"]}
    assert state["signal-leak", "tiny-sdxl"] == state["style-aligned", "tiny-sdxl"] == "preparing"
    assert state["signal-leak", MODEL] == "cold"
    jobs = [one["job"] for one in made["prepared"] if one["job"]]
    gateway.client.delete(f"/styles/{made['id']}")
    for job_id in jobs:
        job = gateway.store.get(job_id)
        assert job is not None
        assert job.state is State.CANCELED


@pytest.mark.parametrize(
    ("methods", "fields", "pointer", "words"),
    [
        ((), {}, "#/method", "is required"),
        (("signal-leak", "nonsense"), {}, "#/method", f"must be among {registry.names()[0]}"),
        (("style-noise",), {}, "#/method", "takes no style image"),
        (("deadiff",), {"model": "tiny-sdxl"}, "#/method", "deadiff does not run on tiny-sdxl; it runs on tiny-sd15"),
        (("signal-leak",), {"model": "nonsense"}, "#/model", "must be one of tiny-sd15, tiny-sdxl"),
        (("signal-leak",), {"prompt": "a house"}, "#/prompt", "unknown field"),
    ],
)
def test_what_cannot_be_prepared_is_refused(
    gateway: Gateway, style: dict[str, Any], methods: tuple[str, ...], fields: dict[str, str], pointer: str, words: str
) -> None:
    body = [("method", (None, method)) for method in methods or ("",)] + [(k, (None, v)) for k, v in fields.items()]
    refused = gateway.client.post(f"/styles/{style['id']}/precompute", files=body)
    assert refused.status_code == 422, refused.text
    (error,) = refused.json()["errors"]
    assert error["pointer"] == pointer
    assert words in error["detail"]
    assert {one["state"] for one in gateway.client.get(f"/styles/{style['id']}").json()["prepared"]} == {"cold"}


def test_nothing_is_kept_of_a_style_that_cannot_be_prepared(gateway: Gateway) -> None:
    body = [("name", (None, "x")), ("precompute", (None, "style-noise")), *references(1)]
    before = gateway.client.get("/styles?limit=1").json()["styles"]
    refused = gateway.client.post("/styles", files=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/precompute")
    assert gateway.client.get("/styles?limit=1").json()["styles"] == before


def test_a_method_that_draws_otherwise_now_is_not_prepared(gateway: Gateway, style: dict[str, Any]) -> None:
    owner = job_of(gateway, {"job": gateway.accepted()["id"]}).owner
    now = registry.spec("signal-leak").version
    old = style_of(owner, {"signal-leak": now + 1}, style["references"][0]["sha256"])
    assert StyleStore(connect(gateway.environ["STYLIZE_REDIS_URL"])).save(old, 1000)
    refused = precompute(gateway, old.id, "signal-leak")
    assert refused.status_code == 422
    assert "save it again" in refused.json()["errors"][0]["detail"]
    shown = gateway.client.get(f"/styles/{old.id}").json()["prepared"]
    assert "signal-leak" not in {one["method"] for one in shown}
    gateway.client.delete(f"/styles/{old.id}")


def test_another_callers_style_is_not_prepared(gateway: Gateway, style: dict[str, Any]) -> None:
    theirs = style_of("somebody", {"a": 1, "b": 1}, style["references"][0]["sha256"])
    assert StyleStore(connect(gateway.environ["STYLIZE_REDIS_URL"])).save(theirs, 10)
    assert precompute(gateway, theirs.id, "signal-leak").status_code == 404
    assert precompute(gateway, "absent", "signal-leak").status_code == 404


def test_all_is_begun_or_nothing(tmp_path: Path) -> None:
    """A queue with room for one job takes neither of two, and a style that cannot be prepared is not saved."""
    with (
        RedisProcess(tmp_path / "redis") as redis,
        Gateway(tmp_path, redis, {"STYLIZE_MAX_QUEUED": "1"}) as gateway,
    ):
        body = [("name", (None, "x")), ("precompute", (None, "signal-leak,style-id")), *references(1)]
        assert gateway.client.post("/styles", files=body).status_code == 429
        assert gateway.client.get("/styles").json()["styles"] == []
        made = saved(gateway, 1)
        assert precompute(gateway, made["id"], "signal-leak", "style-id").status_code == 429
        assert {one["state"] for one in gateway.client.get(f"/styles/{made['id']}").json()["prepared"]} == {"cold"}
        assert precompute(gateway, made["id"], "signal-leak").status_code == 202
