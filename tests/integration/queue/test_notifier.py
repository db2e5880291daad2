"""The notifier over a real Redis: at once when quiet, bounded under load, quiet to its caller when Redis is gone."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded.redis import RedisProcess
from tests.support.service import PATIENCE, until
from workers.contract.queue.celery import WAKE, create_celery, queue_names
from workers.contract.queue.notifier import MOST_WAITING, WorkerNotifier
from workers.contract.runtime.redis import connect


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "redis") as child:
        yield child


@pytest.fixture
def notifier(server: RedisProcess) -> Iterator[WorkerNotifier]:
    notifier = WorkerNotifier(server.url, connect(server.url))
    yield notifier
    notifier.close(PATIENCE)


def hint(message: str) -> tuple[str, list[str]]:
    parsed = json.loads(message)
    args, *_ = json.loads(base64.b64decode(parsed["body"]))
    return parsed["headers"]["task"], args


def test_it_is_a_json_task_in_the_queue_of_model_and_priority(server: RedisProcess, notifier: WorkerNotifier) -> None:
    notifier.notify("job1", "sd15", "batch")
    with connect(server.url) as redis:
        _, message = redis.brpop(["sd15.batch"], timeout=PATIENCE)
    assert hint(message) == (WAKE, ["job1"])
    assert queue_names("sd15") == ("sd15.interactive", "sd15.batch")


def test_each_ring_is_a_message_of_its_own(server: RedisProcess, notifier: WorkerNotifier) -> None:
    for job_id in ("job1", "job2"):
        notifier.notify(job_id, "sd15", "interactive")
    with connect(server.url) as redis:
        messages = [json.loads(redis.brpop(["sd15.interactive"], timeout=PATIENCE)[1]) for _ in range(2)]
    first, second = ({message["headers"]["id"], message["properties"]["delivery_tag"]} for message in messages)
    assert not first & second
    assert [message["headers"]["argsrepr"] for message in messages] == ["('job1',)", "('job2',)"]
    assert [message["properties"]["correlation_id"] == message["headers"]["id"] for message in messages] == [True] * 2


def test_a_storm_of_rings_leaves_a_bounded_number(server: RedisProcess, notifier: WorkerNotifier) -> None:
    for n in range(5000):
        notifier.notify(f"job{n}", "sd15", "interactive")
    with connect(server.url) as redis:
        until(lambda: redis.llen("sd15.interactive") == MOST_WAITING, "the line is full")
        notifier.notify("late", "sd15", "interactive")
        notifier.notify("other", "sdxl", "interactive")
        until(lambda: redis.llen("sdxl.interactive") == 1, "the other is sent")
        assert redis.llen("sd15.interactive") == MOST_WAITING
    assert notifier.failures == 0


def test_a_burst_wakes_as_many_workers_as_it_has_jobs(server: RedisProcess, notifier: WorkerNotifier) -> None:
    for n in range(5):
        notifier.notify(f"job{n}", "sd15", "interactive")
    with connect(server.url) as redis:
        until(lambda: redis.llen("sd15.interactive") == 5, "all are sent")


def test_a_dead_redis_is_counted_and_forgotten(server: RedisProcess, notifier: WorkerNotifier) -> None:
    notifier.notify("job1", "sd15", "interactive")
    with connect(server.url) as redis:
        until(lambda: redis.llen("sd15.interactive") == 1, "the first is sent")
        server.kill()
        notifier.notify("job2", "sd15", "interactive")
        until(lambda: notifier.failures == 1, "the second is counted")
        server.start()
        notifier.notify("job3", "sd15", "interactive")
        until(lambda: redis.llen("sd15.interactive") == 2, "the third is sent")


def test_what_is_pending_is_sent_before_the_end(server: RedisProcess) -> None:
    notifier = WorkerNotifier(server.url, connect(server.url))
    notifier.notify("job1", "sd15", "interactive")
    notifier.close(PATIENCE)
    with connect(server.url) as redis:
        assert redis.llen("sd15.interactive") == 1


def test_celery_is_only_a_doorbell() -> None:
    conf = create_celery("redis://127.0.0.1:1/0").conf
    assert conf.accept_content == ["json"]
    assert conf.task_ignore_result
    assert not conf.task_acks_late
    assert not conf.worker_enable_remote_control
    assert conf.broker_transport_options["ack_emulation"] is False
    assert (conf.worker_pool, conf.worker_prefetch_multiplier) == ("solo", 1)


CONSUMER = """
import sys, time
from redis import Redis
from workers.contract.queue.celery import WAKE, create_celery, queue_names
app = create_celery(sys.argv[1])
@app.task(name=WAKE)
def wake(job_id):
    Redis.from_url(sys.argv[1]).rpush("woken", job_id)
    time.sleep(0.6)
app.Worker(queues=list(queue_names("sd15")), without_gossip=True, without_mingle=True, quiet=True).start()
"""


def test_a_worker_hears_the_bell_after_redis_died_while_it_ran_a_task(
    server: RedisProcess, notifier: WorkerNotifier
) -> None:
    worker = subprocess.Popen([sys.executable, "-W", "ignore", "-c", CONSUMER, server.url], stderr=subprocess.DEVNULL)
    with connect(server.url) as redis:
        try:
            notifier.notify("job1", "sd15", "interactive")
            until(lambda: redis.llen("woken") == 1, "the worker is woken")
            server.kill()
            time.sleep(1)
            server.start()
            notifier.notify("job2", "sd15", "interactive")
            until(lambda: redis.llen("woken") == 2, "it is woken again")
            assert worker.poll() is None
        finally:
            worker.kill()
            worker.wait()
