"""Processes killed at the worst moment: no accepted job is lost, none is published twice."""

import secrets
import signal
import time
from hashlib import sha256

import httpx2
import pytest

from deploy.embedded.processes import ChildProcess
from tests.support.service import FINAL, LEASE, MODEL, PATIENCE, Service, finished, kill, quick, slow, until
from workers.contract.jobs.models import Job, StylizeRequest
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect

pytestmark = pytest.mark.xdist_group("service")


def worker_of(service: Service, job_id: str) -> ChildProcess:
    with connect(service.redis.url) as redis:
        job = JobStore(redis).get(job_id)
    assert job is not None
    assert job.worker is not None
    return service.workers[int(job.worker.rpartition("-")[2])]


def test_a_killed_worker_costs_an_attempt_and_nothing_else(whole: Service) -> None:
    job = whole.submit(slow())
    whole.running(job["id"], step=3)
    victim = worker_of(whole, job["id"])
    kill(victim)
    until(lambda: whole.job(job["id"])["attempts"] == 2 or whole.job(job["id"])["state"] in FINAL, "claimed again")
    done = whole.finished(job["id"])
    assert (done["state"], done["attempts"], len(done["images"])) == ("succeeded", 2, 1)
    assert whole.client.get(done["images"][0]["url"]).status_code == 200


def test_redis_killed_in_the_middle_of_a_job(whole: Service) -> None:
    job = whole.submit(slow())
    whole.running(job["id"])
    whole.redis.kill()
    time.sleep(1.0)
    whole.redis.start()
    following = whole.submit(quick(seed=8))
    until(lambda: whole.job(following["id"])["state"] != "queued", "the next job is claimed")
    for one in (job, following):
        assert (whole.finished(one["id"])["state"], whole.published(one["id"])) == ("succeeded", 1)


def test_a_frozen_worker_that_wakes_up_publishes_nothing(whole: Service) -> None:
    job = whole.submit(slow())
    whole.running(job["id"], step=3)
    zombie = worker_of(whole, job["id"])
    kill(zombie, signal.SIGSTOP)
    try:
        until(lambda: whole.job(job["id"])["attempts"] == 2, "another worker claims the job")
    finally:
        kill(zombie, signal.SIGCONT)
    done = whole.finished(job["id"])
    assert (done["state"], done["attempts"], len(done["images"])) == ("succeeded", 2, 1)
    until(lambda: whole.job(job["id"]) == whole.job(job["id"]), "the zombie has spoken")
    assert whole.job(job["id"])["images"] == done["images"]


def test_a_record_without_a_wake_up_runs_all_the_same(whole: Service) -> None:
    # What a gateway leaves behind that is killed between record and wake-up.
    style = whole.submit(quick())
    whole.finished(style["id"])
    with connect(whole.redis.url) as redis:
        store = JobStore(redis, lease_seconds=LEASE)
        known = store.get(style["id"])
        assert known is not None
        request: StylizeRequest = known.request.model_copy(update={"seed": 99})
        digest = sha256(b"another").hexdigest()
        silent = Job(id=secrets.token_urlsafe(16), owner=known.owner, queue=MODEL, request=request, digest=digest)
        store.submit(silent)
    assert whole.finished(silent.id)["state"] == "succeeded"


def test_a_gateway_killed_while_jobs_run_loses_none(whole: Service) -> None:
    jobs = [whole.submit(quick(seed=seed, steps=20)) for seed in range(4)]
    kill(whole.gateway)
    whole.gateway.start()
    until(lambda: _answers(whole), "the gateway is back")
    for job in jobs:
        assert finished(whole.client, job["id"])["state"] == "succeeded"


def test_a_stopped_worker_finishes_its_job_or_gives_it_back(whole: Service) -> None:
    job = whole.submit(slow())
    whole.running(job["id"], step=3)
    victim = worker_of(whole, job["id"])
    kill(victim, signal.SIGTERM)
    assert victim.process is not None
    assert victim.process.wait(PATIENCE) == 0
    done = whole.finished(job["id"])
    assert (done["state"], len(done["images"])) == ("succeeded", 1)


def test_a_canceled_job_stops_and_shows_nothing(whole: Service) -> None:
    job = whole.submit(slow())
    whole.running(job["id"], step=3)
    assert whole.client.delete(f"/jobs/{job['id']}").json()["state"] in ("canceling", "canceled")
    done = whole.finished(job["id"])
    assert (done["state"], done["images"]) == ("canceled", [])
    assert done["progress"]["step"] < 150


def test_the_same_request_gives_the_same_picture_on_any_worker(whole: Service) -> None:
    pictures = set()
    for _ in range(4):
        done = whole.finished(whole.submit(quick())["id"])
        pictures.add(done["images"][0]["sha256"])
    assert len(pictures) == 1


def _answers(service: Service) -> bool:
    try:
        return bool(service.client.get("/livez").is_success)
    except httpx2.TransportError:
        return False


def test_real_pipelines_give_the_same_pictures_under_faults(whole: Service) -> None:
    calm = [whole.submit(quick(seed=seed))["id"] for seed in range(25)]
    expected = [whole.finished(job_id)["images"][0]["sha256"] for job_id in calm]
    troubled = [whole.submit(quick(seed=seed))["id"] for seed in range(25)]
    until(lambda: whole.job(troubled[3])["state"] in FINAL, "some are done")
    kill(whole.workers[0])
    whole.workers[0].start()
    until(lambda: whole.job(troubled[8])["state"] in FINAL, "more are done")
    whole.redis.kill()
    whole.redis.start()
    done = [whole.finished(job_id) for job_id in troubled]
    assert [job["images"][0]["sha256"] for job in done] == expected
    assert sum(job["attempts"] - 1 for job in done) <= 2 * 4, "each fault hits at most a batch"
