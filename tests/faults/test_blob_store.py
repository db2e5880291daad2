"""A blob store that fails, is full, slow, or lies: jobs wait for it and keep their attempts (F6)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.harness.stack import Stack
from tests.faults.harness.watched import FAILING, FULL, LYING, SLOW
from tests.support.service import until

pytestmark = pytest.mark.xdist_group("redis")


@contextmanager
def mood(running: Stack, word: str) -> Iterator[None]:
    (running.folder / "mood").write_text(word)
    try:
        yield
    finally:
        (running.folder / "mood").unlink()


@pytest.mark.parametrize("word", [FAILING, FULL, LYING])
def test_jobs_outlast_a_blob_store_that_is_away(fake: Stack, word: str) -> None:
    with mood(fake, word):
        jobs = [fake.post(f"a {word} house", seed=seed) for seed in range(4)]
        until(lambda: any(map(fake.claimed, jobs)), "a job is claimed")
        time.sleep(3.0)
        assert not any(fake.record(job_id).state.final for job_id in jobs)
    for job_id in jobs:
        fake.succeeded(job_id, attempts=1)


def test_a_slow_blob_store_only_takes_time(fake: Stack) -> None:
    with mood(fake, SLOW):
        fake.succeeded(fake.post("a slow house"), attempts=1)


def test_a_job_that_waits_for_the_blob_store_can_be_canceled(fake: Stack) -> None:
    with mood(fake, FULL):
        job_id = fake.post("a canceled house")
        until(lambda: fake.claimed(job_id), "it is claimed")
        time.sleep(1.0)
        fake.client.delete(f"/jobs/{job_id}")
        assert fake.finished(job_id)["state"] == "canceled"
