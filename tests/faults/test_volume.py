"""Three hundred jobs under sixty mixed faults: nothing lost, nothing twice, at most one wasted attempt a fault (F2).

`make soak` is the same with ten thousand jobs and 1,300 faults, and judges how soon jobs go on as well: a figure for a
machine that does nothing else.
"""

import random

import pytest

from tests.faults.harness.receiver import Receiver
from tests.faults.harness.stack import stack
from tests.faults.soak import SETTINGS, soak

pytestmark = pytest.mark.xdist_group("volume")
PLAN = {"kill": 24, "term": 6, "redis": 6, "freeze": 8, "cut": 8, "truncate": 4, "stall": 4}


def test_three_hundred_jobs_under_sixty_faults() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"python -m tests.faults.soak --jobs 300 --seed {seed}")
    with Receiver() as receiver, stack(workers=3, environ=SETTINGS | receiver.environ) as running:
        report = soak(running, receiver, jobs=300, plan=PLAN, seed=seed)
    print(report.text())
    assert report.violations == []
    assert (report.jobs, report.faults.total()) == (300, 60)


def test_an_injector_that_fails_ends_the_soak_instead_of_leaving_it_in_calm() -> None:
    with Receiver() as receiver, stack(workers=1, environ=SETTINGS | receiver.environ) as running:
        with pytest.raises(KeyError, match="meteor"):
            soak(running, receiver, jobs=10_000, plan={"meteor": 10_000}, seed=1)
        assert len(running.store.page(limit=100).jobs) < 100
