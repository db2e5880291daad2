"""Records of other releases, missing and damaged ones: nothing stops, nothing is lost, nothing is poison (B2)."""

import json
from typing import Any

import pytest
from redis import Redis

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from app.auth.keyring import KeyRing
from tests.integration.conftest import PRECOMPUTE, new_job
from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import EvaluateRequest, PrecomputeRequest, Result, State, TrainRequest
from workers.contract.jobs.results import WorkerStatus
from workers.contract.jobs.store import JobStore
from workers.contract.jobs.stored import RECORD_VERSION


def submit(store: JobStore, count: int = 1, **fields: Any) -> list[str]:
    return [store.submit(new_job(**fields)).job.id for _ in range(count)]


def change(redis: Redis, store: JobStore, job_id: str, **fields: Any) -> None:
    """Change a record as another release would have written it."""
    redis.hset(f"{store._prefix}job:{job_id}", mapping=fields)


def add_to_request(redis: Redis, store: JobStore, job_id: str, **fields: Any) -> None:
    name = f"{store._prefix}job:{job_id}"
    request = json.loads(redis.hget(name, "request"))  # type: ignore[arg-type]
    redis.hset(name, "request", json.dumps(request | fields))


def lose(redis: Redis, store: JobStore, job_id: str) -> None:
    redis.delete(f"{store._prefix}job:{job_id}")


def places(redis: Redis, store: JobStore, job_id: str) -> set[str]:
    """Return the sorted sets that name a job."""
    names = redis.scan_iter(f"{store._prefix}*", _type="zset")
    return {name for name in names if redis.zscore(name, job_id) is not None}


def test_a_field_of_a_newer_release_is_left_aside(redis: Redis, store: JobStore) -> None:
    (job_id,) = submit(store)
    add_to_request(redis, store, job_id, upscale=2)
    assert [job.id for job in store.page(owner="ann").jobs] == [job_id]
    claim = store.claim("sd15", "worker")
    assert claim is not None
    assert claim.job.id == job_id
    assert store.commit(claim, Result(images=()))


def test_a_job_of_a_newer_version_waits_for_who_knows_it(redis: Redis, store: JobStore) -> None:
    newer, other, after = [*submit(store), *submit(store, owner="bob"), *submit(store)]
    change(redis, store, newer, version=RECORD_VERSION + 1, request='{"of": "another form"}')
    claimed = [claim.job.id for _ in range(3) if (claim := store.claim("sd15", "worker"))]
    assert sorted(claimed) == sorted([other, after])
    record = redis.hgetall(f"{store._prefix}job:{newer}")
    assert (record["state"], record["attempts"], record["token"]) == ("queued", "0", "0")
    change(redis, store, newer, version=1)
    add_to_request(redis, store, newer)


def test_many_of_a_newer_version_hold_up_no_other_owner(redis: Redis, store: JobStore) -> None:
    for job_id in submit(store, 150):
        change(redis, store, job_id, version=RECORD_VERSION + 1)
    (other,) = submit(store, owner="bob")
    claim = store.claim("sd15", "worker")
    assert claim is not None
    assert claim.job.id == other


@pytest.mark.parametrize("fields", [{"request": "{"}, {"request": '{"method": 1}'}, {"created": "soon"}], ids=str)
def test_a_damaged_job_fails_at_once_and_the_next_is_given(
    redis: Redis, store: JobStore, fields: dict[str, str]
) -> None:
    damaged, sound = submit(store, 2)
    change(redis, store, damaged, **fields)
    claim = store.claim("sd15", "worker")
    assert claim is not None
    assert claim.job.id == sound
    record = redis.hgetall(f"{store._prefix}job:{damaged}")
    assert record["state"] == "failed"
    assert json.loads(record["failure"])["code"] == "unreadable-record"


@pytest.mark.parametrize("fields", [{"request": "{"}, {"state": "pausing"}, {"result": "[]"}], ids=str)
def test_an_unreadable_job_is_named_and_hides_no_other(redis: Redis, store: JobStore, fields: dict[str, str]) -> None:
    unreadable, sound = submit(store, 2)
    change(redis, store, unreadable, **fields)
    page = store.page(owner="ann")
    assert ([job.id for job in page.jobs], page.unreadable) == ([sound], (unreadable,))
    assert store.many([unreadable, sound]).keys() == {sound}
    with pytest.raises(UnreadableRecord, match=unreadable):
        store.get(unreadable)
    assert store.queue_stats().unreadable["job"] >= 2


def test_a_stage_of_another_release_is_no_matter(redis: Redis, store: JobStore) -> None:
    (job_id,) = submit(store)
    change(redis, store, job_id, progress='{"stage": "upscale"}')
    job = store.get(job_id)
    assert job is not None
    assert job.progress is None


@pytest.mark.parametrize("run", [False, True])
def test_a_missing_record_leaves_all_places_and_stops_nobody(redis: Redis, store: JobStore, run: bool) -> None:
    from datetime import UTC, datetime, timedelta

    (gone,) = submit(store, deadline=datetime.now(UTC) + timedelta(hours=1))
    (other,) = submit(store)
    if run:
        assert store.claim("sd15", "worker") is not None
    lose(redis, store, gone)
    if run:
        redis.zadd(f"{store._prefix}leases", {gone: 1})
    claim = store.claim("sd15", "worker")
    assert claim is not None
    assert claim.job.id == other
    redis.zadd(f"{store._prefix}finished", {gone: 1})
    redis.zadd(f"{store._prefix}deadlines", {gone: 1})
    redis.zadd(f"{store._prefix}waiting", {gone: 1})
    store.sweep()
    store.page(owner="ann")
    assert places(redis, store, gone) == set()
    assert store.queue_stats().running == {"signal-leak": 1}
    assert store.commit(claim, Result(images=()))
    assert submit(store)


def test_a_worker_of_a_newer_release_is_known_by_what_we_know(redis: Redis, store: JobStore) -> None:
    store.announce(WorkerStatus(id="old", queues=("sd15",), state="idle"), 60)
    status = json.loads(WorkerStatus(id="new", queues=("sd15",), models=("sd15",), state="idle").model_dump_json())
    for worker, more in (("new", {"version": RECORD_VERSION + 1, "shoes": 3}), ("odd", {"state": "dreaming"})):
        store._run("workers", worker, json.dumps(status | {"id": worker} | more), 60_000)
    assert [(worker.id, worker.models) for worker in store.workers()] == [("new", ("sd15",)), ("old", ())]
    assert submit(store)
    store._run("workers", "broken", "{", 60_000)
    assert submit(store), "what is expected of a job is told without the broken worker"


def test_a_key_of_a_newer_release_opens_what_it_says_or_nothing(redis: Redis, store: JobStore) -> None:
    keys = KeyStore(redis, prefix=store._prefix)
    ring = KeyRing(keys, always=False)
    (known, token), (newer, newer_token) = create_api_key("known"), create_api_key("newer")
    keys.put(known)
    ring.refresh(0)
    assert ring.caller(f"Bearer {token}").owner == known.id
    name = f"{store._prefix}keys"
    redis.hset(name, newer.id, json.dumps(json.loads(newer.model_dump_json()) | {"colour": "red"}))
    assert keys.all()[newer.id].name == "newer"
    redis.hset(name, newer.id, json.dumps(json.loads(newer.model_dump_json()) | {"version": RECORD_VERSION + 1}))
    redis.hset(name, "f" * 16, "{")
    keys.put(known)
    found = keys.all()
    assert (found[known.id], found[newer.id].scopes, found["f" * 16].scopes) == (known, (), ())
    redis.hdel(name, known.id)
    ring = KeyRing(keys, always=False)
    ring.refresh(0)
    for header in (None, f"Bearer {newer_token}"):
        with pytest.raises(Exception, match="API key"):
            ring.caller(header)


def test_what_the_release_before_wrote_has_no_version(redis: Redis, store: JobStore) -> None:
    (job_id,) = submit(store)
    redis.hdel(f"{store._prefix}job:{job_id}", "version")
    claim = store.claim("sd15", "worker")
    assert claim is not None
    assert claim.job.state is State.RUNNING


def test_a_request_for_no_picture_of_release_0_1_0_prepares_a_style(redis: Redis, store: JobStore) -> None:
    (job_id,) = submit(store)
    add_to_request(redis, store, job_id, num_images=0)
    redis.hdel(f"{store._prefix}job:{job_id}", "job_kind")
    claim = store.claim("sd15", "worker")
    assert claim is not None
    assert isinstance(claim.job.request, PrecomputeRequest)
    assert store.page(owner="ann").jobs == ()


@pytest.mark.parametrize("kind", ["precompute", "train", "evaluate"])
def test_release_0_1_0_never_claims_what_it_would_draw_pictures_for(redis: Redis, store: JobStore, kind: str) -> None:
    payloads = {
        "precompute": PRECOMPUTE,
        "train": TrainRequest(method="lora", model="sd15", name="ink", images=("a" * 64,), seed=1, steps=10),
        "evaluate": EvaluateRequest(method="style-id", model="sd15", strengths=(0.5,), cases=2, seed=1),
    }
    job = store.submit(new_job(request=payloads[kind])).job
    assert redis.hget(f"{store._prefix}job:{job.id}", "version") == "2"
    assert store.get(job.id) == job
    assert job.kind == kind


def test_a_kind_of_a_newer_release_cannot_be_read(redis: Redis, store: JobStore) -> None:
    (job_id,) = submit(store)
    change(redis, store, job_id, job_kind="upscale")
    with pytest.raises(UnreadableRecord):
        store.get(job_id)
