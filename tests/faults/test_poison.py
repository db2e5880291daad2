"""A job that ends its worker every time fails after three attempts and takes nobody with it (R7)."""

from datetime import timedelta

import pytest

from tests.faults.stack import Stack, stack
from tests.support.service import until

pytestmark = pytest.mark.xdist_group("workers")


def test_poison_fails_alone_among_batch_mates() -> None:
    with stack(workers=1, environ={"STYLIZE_WORKER_BATCH_PICTURES": "4"}) as running:
        first = running.post("a long one", steps=20)
        until(lambda: running.record(first).state == "running", "the worker is busy while the others gather")
        poison = running.post("a house kill@step2*9")
        others = [running.post("a tree", seed=seed) for seed in range(6)]
        failed = running.finished(poison)
        assert (failed["state"], failed["error"]["code"], failed["attempts"]) == ("failed", "poison", 3)
        for job_id in (first, *others):
            assert running.finished(job_id)["state"] == "succeeded"
            assert running.record(job_id).attempts <= 2


def test_others_hardly_wait_for_poison() -> None:
    with stack(workers=2) as running:
        calm = waits(running, "a calm house")
        running.post("a house kill@step2*9")
        troubled = waits(running, "a tree")
        assert troubled < 2 * calm + timedelta(seconds=1), (calm, troubled)


def waits(running: Stack, prompt: str) -> timedelta:
    """Return the longest wait of twenty jobs."""
    jobs = [running.post(prompt, seed=seed) for seed in range(20)]
    for job_id in jobs:
        assert running.finished(job_id)["state"] == "succeeded"
    records = [running.record(job_id) for job_id in jobs]
    return max(job.started_at - job.created_at for job in records)
