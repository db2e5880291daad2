"""The gateway killed around the record, two sweepers at once, wake-ups that nobody should have sent (F8, F12, F13)."""

import base64
import json
import time

import httpx2
import pytest

from deploy.embedded.processes import ChildProcess
from deploy.embedded.stack import python
from tests.faults.harness.stack import Stack
from tests.support.service import kill, until
from workers.contract.queue.celery import WAKE
from workers.contract.runtime.redis import connect

pytestmark = pytest.mark.xdist_group("redis")
QUEUE = "tiny-sd15.interactive"


@pytest.mark.parametrize("point", ["kept", "recorded"])
def test_a_gateway_killed_around_the_record_makes_one_job_of_a_repeated_request(fake: Stack, point: str) -> None:
    prompt = f"a house kill@{point}*1"
    with pytest.raises(httpx2.TransportError):
        fake.post(prompt, key=point)
    until(lambda: fake.answers("/livez"), "the gateway is back")
    job_id = fake.post(prompt, key=point)
    fake.succeeded(job_id, attempts=1)
    asked = [job for job in fake.store.page(limit=500).jobs if job.request.prompt == prompt]
    assert [job.id for job in asked] == [job_id]


def test_a_record_that_no_gateway_rang_for_runs(fake: Stack) -> None:
    prompt = "a silent house kill@recorded*1"
    with pytest.raises(httpx2.TransportError):
        fake.post(prompt)
    [job] = [job for job in fake.store.page(limit=500).jobs if job.request.prompt == prompt]
    until(lambda: fake.answers("/livez"), "the gateway is back")
    fake.succeeded(job.id, attempts=1)


def test_two_sweepers_do_no_more_than_one(fake: Stack) -> None:
    second = ChildProcess("second sweeper", python("workers.sweeper"), fake.environ)
    second.start()
    try:
        for seed in range(3):
            job_id = fake.post(f"a house {seed} kill@step2*1", seed=seed)
            assert 2 <= fake.succeeded(job_id).attempts <= 3, "once for its own kill, once more on a busy machine"
    finally:
        kill(second)


def message(body: bytes, content_type: str = "application/json", task: str = WAKE) -> str:
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {"id": "1", "task": task, "lang": "py", "retries": 0, "root_id": "1", "parent_id": None},
            "properties": {
                "correlation_id": "1",
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "delivery_tag": "1",
                "body_encoding": "base64",
            },
        }
    )


FORGED = {
    "an unknown id": message(b'[["nobody"], {}, {}]'),
    "not a string": message(b'[[{"a": [1]}], {"more": 1}, {}]'),
    "a megabyte": message(json.dumps([["x" * 1_000_000], {}, {}]).encode()),
    "another task": message(b"[[], {}, {}]", task="os.system"),
    "a pickle": message(b"cos\nsystem\n(S'false'\ntR.", content_type="application/x-python-serialize"),
    "half a body": message(b'[["x"'),
    "not a message": "{}",
    "not even JSON": "\x00garbage",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_forged_wake_ups_do_no_harm(fake: Stack, forged: str) -> None:
    with connect(fake.redis.url) as redis:
        redis.lpush(QUEUE, *(forged for _ in fake.workers))
        until(lambda: not redis.llen(QUEUE), "they are read")
    time.sleep(0.2)
    for seed in range(2):
        fake.succeeded(fake.post("a house", seed=seed))


def test_wake_ups_twice_and_out_of_order_run_each_job_once(fake: Stack) -> None:
    jobs = [fake.post("a tree", seed=seed) for seed in range(4)]
    with connect(fake.redis.url) as redis:
        for job_id in reversed(jobs * 2):
            redis.lpush(QUEUE, message(json.dumps([[job_id], {}, {}]).encode()))
    for job_id in jobs:
        fake.succeeded(job_id, attempts=1)
