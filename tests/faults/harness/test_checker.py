"""The checker finds planted faults; else its silence would prove nothing."""

import signal
from datetime import UTC, datetime

import pytest

from tests.faults.harness.callers import Callers
from tests.faults.harness.checker import violations
from tests.faults.harness.history import Ask, Evidence, History
from tests.faults.harness.receiver import Call
from tests.faults.harness.stack import PATIENT, Stack, stack
from tests.faults.soak import gather
from tests.support.service import PATIENCE, until
from workers.contract.jobs.models import Job, State, StylizeRequest

pytestmark = pytest.mark.xdist_group("checker")


def started(running: Stack, history: History, *prompts: str, patience: float = PATIENCE) -> Callers:
    wanted = [Ask(f"key-{n}", prompt, n, 20, cancel=False) for n, prompt in enumerate(prompts)]
    callers = Callers(str(running.client.base_url), history, wanted, threads=4, patience=patience)
    callers.start()
    return callers


def zombie_commits(planted: str) -> list[str]:
    """Run a job whose first worker freezes just before it commits, and wakes while another runs the job."""
    history = History()
    # The second attempt takes 8 s: time for the first to wake up and commit.
    with stack(workers=2, planted=planted, step_seconds=0.4, environ=PATIENT) as running:
        callers = started(running, history, "a house freeze@stored*1")
        until(lambda: any(job.attempts > 1 for job in running.store.page().jobs), "another worker claims the job")
        first = running.first_claimer(running.store.page().jobs[0].id)
        zombie = running.worker_processes()[first]
        history.fault("freeze", first)
        zombie.send_signal(signal.SIGCONT)
        callers.join()
        until(lambda: not any(worker.job_id for worker in running.store.workers()), "both workers are done")
        return violations(gather(running, history))


def test_a_zombie_that_commits_is_refused() -> None:
    assert zombie_commits("") == []


def test_a_commit_without_token_compare_is_found() -> None:
    found = zombie_commits("commit without token compare")
    assert any("jobs/" in line and "but attempt 2 has it" in line for line in found), found


def test_a_sweeper_that_is_off_is_found() -> None:
    history = History()
    with stack(workers=1, sweeper=False) as running:
        callers = started(running, history, "a house kill@step2*1", patience=6.0)
        until(lambda: running.troubled() == 1, "its worker is killed")
        callers.join()
        found = violations(gather(running, history))
    assert any("accepted, but running after 1 attempts" in line for line in found), found


def test_a_claim_without_state_check_is_found() -> None:
    history = History()
    with stack(workers=2, planted="claim without state check") as running:
        started(running, history, *(f"house {n}" for n in range(4)), patience=6.0).join()
        until(lambda: any(job.attempts > 1 for job in running.store.page().jobs), "a job is claimed twice")
        found = violations(gather(running, history))
    assert any("attempts too many for 0 faults" in line for line in found), found


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([], "0 webhook event ids"),
        ([Call("a", "job-1", "succeeded"), Call("b", "job-1", "succeeded")], "2 webhook event ids"),
        ([Call("a", "job-1", "failed")], "its webhook said failed"),
    ],
)
def test_webhooks_that_are_lost_doubled_or_wrong_are_found(calls: list[Call], said: str) -> None:
    moment = datetime.now(UTC)
    request = StylizeRequest(method="m", model="m", seed=1, width=64, height=64, steps=1, guidance_scale=1, strength=1)
    known = {"id": "job-1", "owner": "o", "queue": "q", "priority": "batch", "digest": "0" * 64}
    job = Job(**known, state=State.SUCCEEDED, request=request, created_at=moment)
    found = violations(Evidence(History(), {"job-1": job}, [], calls))
    assert any(said in line for line in found), found
