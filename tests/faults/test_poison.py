"""A job that ends its worker every time fails after three attempts and takes nobody with it (R7)."""

import pytest

from tests.faults.harness.stack import PATIENT, stack
from tests.support.service import until

pytestmark = pytest.mark.xdist_group("workers")


def test_poison_fails_alone_among_batch_mates() -> None:
    with stack(workers=1, environ=PATIENT | {"STYLIZE_WORKER_BATCH_PICTURES": "4"}) as running:
        first = running.post("a long one", steps=100)
        until(lambda: running.claimed(first), "the worker is busy while the others gather")
        poison = running.post("a house kill@step2*9")
        others = [running.post("a tree", seed=seed) for seed in range(6)]
        failed = running.finished(poison)
        assert (failed["state"], failed["error"]["code"], failed["attempts"]) == ("failed", "poison", 3)
        for job_id in (first, *others):
            assert running.finished(job_id)["state"] == "succeeded"
            assert running.record(job_id).attempts <= 2
