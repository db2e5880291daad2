"""Server-sent events: who follows a job misses nothing, however often the stream is cut."""

import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE, until
from workers.contract.jobs.models import Progress

Event = dict[str, Any]


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """Read a stream as browsers do; comments are events of type `comment`."""
    event: Event = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line == "":
            if event:
                yield event
            event = {}
        elif name == "":
            yield {"event": "comment", "data": value}
        else:
            event[name] = json.loads(value) if name == "data" else value


@contextmanager
def following(
    gateway: Gateway, job_id: str, last_id: str | None = None
) -> Iterator[tuple[httpx2.Response, Iterator[Event]]]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with gateway.client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
        yield answer, events_of(answer.iter_lines())


@pytest.fixture
def own(tmp_path: Path, gateway_redis: RedisProcess) -> Iterator[Gateway]:
    """A gateway with small limits and a quick heart."""
    environ = {"STYLIZE_GATEWAY_HEARTBEAT_SECONDS": "0.2", "STYLIZE_GATEWAY_STREAMS_PER_CALLER": "2"}
    with Gateway(tmp_path, gateway_redis, environ) as running:
        yield running


def test_a_job_is_told_from_queued_to_succeeded(gateway: Gateway) -> None:
    job = gateway.accepted()
    with following(gateway, job["id"]) as (answer, events):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        first = next(events)
        assert (first["event"], first["data"]["state"]) == ("job", "queued")
        assert first["data"]["queue"]["position"] >= 0
        claim = gateway.claimed(job["id"])
        while (event := next(events))["data"]["state"] != "running":
            pass
        gateway.store.beat(claim, Progress(stage="denoise", step=1, steps=2, fraction=0.5))
        while not (progress := event["data"]["progress"]):
            event = next(events)
        assert progress == {"stage": "denoise", "step": 1, "steps": 2, "fraction": 0.5}
        gateway.store.release(claim)
        gateway.finish(job["id"], encoded(picture()))
        rest = [event["data"] for event in events]
    assert rest[-1]["state"] == "succeeded"
    assert rest[-1] == gateway.client.get(job["links"]["self"]).json()


def test_a_finished_job_is_told_once_and_then_no_more(gateway: Gateway) -> None:
    job = gateway.accepted()
    gateway.client.delete(job["links"]["self"])
    with following(gateway, job["id"]) as (_, events):
        (only,) = events
    assert only["data"]["state"] == "canceled"
    with following(gateway, job["id"], only["id"]) as (answer, _):
        assert answer.status_code == 204


def test_what_was_told_is_not_told_again(gateway: Gateway) -> None:
    job = gateway.accepted()
    claim = gateway.claimed(job["id"])
    with following(gateway, job["id"]) as (_, events):
        known = next(events)
    with following(gateway, job["id"], known["id"]) as (_, events):
        gateway.store.beat(claim, Progress(stage="denoise", step=1, steps=2, fraction=0.5))
        event = next(events)
    assert event["data"]["progress"]["step"] == 1
    gateway.client.delete(job["links"]["self"])


def test_a_hundred_cuts_miss_no_final_state(gateway: Gateway) -> None:
    chance = random.Random(5)
    ids = [gateway.accepted()["id"] for _ in range(10)]
    claims = {job_id: gateway.claimed(job_id) for job_id in ids}
    done = threading.Event()

    def work() -> None:
        for step in range(1, 40):
            for claim in claims.values():
                gateway.store.beat(claim, Progress(stage="denoise", step=step, steps=40, fraction=step / 40))
            time.sleep(0.02)
        for claim in claims.values():
            gateway.store.cancel(claim.job.id)
            gateway.store.canceled(claim)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    cuts, last_ids = 0, dict.fromkeys(ids, "none")
    finals: dict[str, str] = {}
    while len(finals) < len(ids) or cuts < 100:
        job_id = chance.choice(ids)
        with following(gateway, job_id, last_ids[job_id] if job_id not in finals else None) as (_, events):
            for event, _ in zip(events, range(chance.randint(1, 3)), strict=False):
                last_ids[job_id] = event.get("id", last_ids[job_id])
                if event.get("data", {}).get("state") == "canceled":
                    finals[job_id] = event["id"]
        cuts += 1
    worker.join()
    assert done.is_set()
    assert set(finals) == set(ids)


def test_a_quiet_stream_shows_that_it_lives(own: Gateway) -> None:
    job = own.accepted()
    with following(own, job["id"]) as (_, events):
        assert next(events)["event"] == "job"
        assert [next(events)["event"] for _ in range(2)] == ["comment", "comment"]
    own.client.delete(job["links"]["self"])


def test_streams_are_bounded_and_freed(own: Gateway) -> None:
    job = own.accepted()
    path = job["links"]["events"]
    with following(own, job["id"]) as (_, one), following(own, job["id"]) as (_, two):
        assert next(one)["id"] == next(two)["id"]
        refused = own.client.get(path)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert refused.json()["type"] == "urn:stylize:problem:too-many-streams"

    def taken() -> bool:
        with own.client.stream("GET", path) as answer:
            return answer.status_code == 200

    until(taken, "there is room for another")
    own.client.delete(job["links"]["self"])


def test_who_only_listens_does_not_delay_the_stop(tmp_path: Path, gateway_redis: RedisProcess) -> None:
    with Gateway(tmp_path, gateway_redis, {"STYLIZE_GATEWAY_GRACE_SECONDS": "3600"}) as stopping:
        job = stopping.accepted()
        with following(stopping, job["id"]) as (_, events):
            next(events)
            assert stopping.process is not None
            stopping.process.send_signal(signal.SIGTERM)
            assert [event["event"] for event in events if event["event"] != "job"] == []
            stopping.process.wait(PATIENCE)
        stopping.store.cancel(job["id"])


def test_nobody_follows_what_is_not_there(gateway: Gateway) -> None:
    for job_id, status in (("unknown", 404), ("x" * 65, 422)):
        assert gateway.client.get(f"/jobs/{job_id}/events").status_code == status
