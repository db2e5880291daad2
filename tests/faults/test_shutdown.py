"""Workers told to end: in grace, out of it, in a hurry, twice, while hung, in turn under load (F11, F14)."""

import random
import signal
import time

import pytest

from tests.faults.harness.callers import Callers, asks
from tests.faults.harness.checker import violations
from tests.faults.harness.history import History
from tests.faults.harness.stack import PATIENT, Stack, stack
from tests.faults.soak import gather
from tests.support.service import PATIENCE, kill, until

pytestmark = pytest.mark.xdist_group("workers")


@pytest.mark.parametrize(
    ("signals", "steps"),
    [("TERM", 30), ("INT", 30), ("TERM", 60), ("TERM TERM", 60), ("QUIT", 60), ("TERM QUIT", 60), ("TERM KILL", 60)],
)
def test_a_stopped_worker_finishes_its_job_or_gives_it_back(fake: Stack, signals: str, steps: int) -> None:
    job_id = fake.post(f"a house {signals}", steps=steps)
    until(lambda: (job := fake.record(job_id)).progress is not None and job.progress.step > 0, "it runs")
    process = fake.worker_processes()[fake.first_claimer(job_id)]
    for name in signals.split():
        process.send_signal(getattr(signal, f"SIG{name}"))
        time.sleep(0.1)
    process.wait(PATIENCE)
    job = fake.record(job_id)
    if not job.state.final:
        until(lambda: fake.record(job_id).token > job.token or fake.record(job_id).state == "succeeded", "claimed")
    attempts = fake.succeeded(job_id).attempts
    assert attempts <= (2 if "KILL" in signals else 1), "a job given back keeps its attempts"


@pytest.mark.parametrize("name", ["TERM", "QUIT", "INT"])
def test_an_idle_worker_ends_well(fake: Stack, name: str) -> None:
    victim = fake.workers[0]
    process = victim.process
    assert process is not None
    kill(victim, getattr(signal, f"SIG{name}"))
    assert process.wait(PATIENCE) == 0
    fake.succeeded(fake.post("a house"), attempts=1)


def test_a_hung_worker_that_is_told_to_end_is_replaced_all_the_same(fake: Stack) -> None:
    job_id = fake.post("a house hang@step2*1")
    fake.worker_processes()[fake.first_claimer(job_id)].terminate()
    fake.succeeded(job_id, attempts=2)


def test_rolling_replacement_under_load_loses_and_doubles_nothing() -> None:
    history, wanted = History(), asks(random.Random(11), 40)
    with stack(workers=2, environ=PATIENT) as running:
        callers = Callers(str(running.client.base_url), history, wanted, threads=6, patience=PATIENCE)
        callers.start()
        for child in running.workers:
            process = child.process
            assert process is not None
            kill(child, signal.SIGTERM)
            process.wait(PATIENCE)
            until(lambda old=process, child=child: child.process not in (None, old), "its successor starts")
            running.await_workers()
        callers.join()
        found = violations(gather(running, history))
    assert found == []
