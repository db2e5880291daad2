"""The store against the reference: any sequence of verbs and passing time, each answer and record compared (M1)."""

import copy
import os
import secrets
from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from deploy.embedded.redis import RedisProcess
from tests.integration.conftest import new_job
from tests.integration.jobs.reference import Reference
from workers.contract.errors import IdempotencyConflict, InputsDeleted, QueueFull, StorageQuota
from workers.contract.jobs import scripts
from workers.contract.jobs.admission import Admission, PutInputs
from workers.contract.jobs.inputs import KEPT_SECONDS, LEASE_SECONDS
from workers.contract.jobs.models import PRIORITIES, Failure, Job, Priority, Progress, Result, State, from_millis
from workers.contract.jobs.results import Claim, LeaseStatus
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect

LEASE, KEEP, MAX_QUEUED, MAX_ATTEMPTS, MAX_DEFERRALS = 10_000, 60_000, 6, 2, 1
OWNERS, QUEUES = ("ann", "bob"), ("sd15", "sdxl")
PICTURES = ["c" * 64, "d" * 64, "e" * 64]
OFTEN_ONE_QUEUE = st.sampled_from(["sd15", "sd15", "sd15", "sdxl"])
FAILURE = Failure(code="internal", detail="it broke")
RUNS = settings(
    max_examples=int(os.environ.get("MODEL_EXAMPLES", "40")),
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


class Protocol(RuleBasedStateMachine):
    """`faults` are replacements in the text of the scripts, planted to see that they are found."""

    url: ClassVar[str]
    faults: ClassVar[dict[str, tuple[str, str]]] = {}

    jobs = Bundle("jobs")
    claims = Bundle("claims")
    deletions = Bundle("deletions")

    def __init__(self) -> None:
        super().__init__()
        self.model = Reference(LEASE, MAX_ATTEMPTS, MAX_DEFERRALS, MAX_QUEUED, KEEP, max_pictures=2)
        self.redis = connect(self.url)
        self.store = JobStore(
            self.redis,
            lease_seconds=LEASE / 1000,
            max_attempts=MAX_ATTEMPTS,
            max_deferrals=MAX_DEFERRALS,
            max_queued=MAX_QUEUED,
            retention_seconds=KEEP / 1000,
            prefix=f"{secrets.token_hex(4)}:",
            clock=lambda: self.model.now,
        )
        self.marks: dict[str, int] = {}
        for name in scripts.PARTS["position"]:  # so that of the few jobs of this test most are beyond it
            text = scripts.source(name)
            assert "local REACH = 64" in text
            self.store._scripts[name] = self.redis.register_script(text.replace("local REACH = 64", "local REACH = 1"))
        for name, (right, wrong) in self.faults.items():
            if right not in scripts.source(name):
                raise LookupError(right)
            self.store._scripts[name] = self.redis.register_script(scripts.source(name).replace(right, wrong))
        self.seen: dict[str, Job] = {}
        self.published: dict[str, Result] = {}
        self.count = 0

    def teardown(self) -> None:
        self.redis.close()

    @initialize(target=jobs)
    def some_jobs_wait(self) -> Any:
        waiting = [("ann", "batch"), ("ann", "interactive"), ("ann", "interactive"), ("bob", "interactive")]
        return multiple(
            *(
                self.submit(owner, "sd15", priority, None, "a" * 64, None, PICTURES[0], False)
                for owner, priority in waiting
            )
        )

    @rule(
        target=jobs,
        owner=st.sampled_from(OWNERS),
        queue=OFTEN_ONE_QUEUE,
        priority=st.sampled_from(PRIORITIES),
        key=st.sampled_from([None, None, None, None, "k1", "k2"]),
        digest=st.sampled_from(["a" * 64, "a" * 64, "b" * 64]),
        lifetime=st.sampled_from([None, None, None, None, 5_000, 15_000]),
        picture=st.sampled_from(PICTURES),
        put_again=st.booleans(),
    )
    def submit(
        self,
        owner: str,
        queue: str,
        priority: Priority,
        key: str | None,
        digest: str,
        lifetime: int | None,
        picture: str,
        put_again: bool,
    ) -> Any:
        self.count += 1
        job_id = f"j{self.count}"
        deadline = self.model.now + lifetime if lifetime else None
        new = new_job(
            job_id,
            owner=owner,
            queue=queue,
            priority=priority,
            digest=digest,
            styles=(picture,),
            idempotency_key=key,
            deadline=from_millis(deadline) if deadline else None,
        )
        put = PutInputs({picture: 10}, self.marks if put_again else {}, max_bytes=20)
        verdict, expected = self.model.submit(
            job_id, owner, queue, priority, digest, key, deadline, picture, dict(put.revived)
        )
        try:
            submission = self.store.submit(new, put)
        except IdempotencyConflict:
            assert verdict == "conflict"
        except QueueFull:
            assert verdict == "full"
        except StorageQuota:
            assert verdict == "stored"
        except InputsDeleted as found:
            self.marks, deleting = found.marks, found.deleting
            assert (verdict, deleting) == ("doomed", self.model.doomed[picture] > self.model.now)
        else:
            assert expected is not None
            assert (submission.job.id, submission.created) == (expected.id, verdict == "created")
            return submission.job.id
        return multiple()

    @rule(target=claims, queue=OFTEN_ONE_QUEUE)
    def claim(self, queue: str) -> Any:
        self.owners_are_indexed_as_their_queues_are()
        self.positions_tell_the_order_of_service(queue)
        claim, expected = self.store.claim(queue, "worker"), self.model.claim(queue)
        assert (claim and (claim.job.id, claim.token)) == (expected and (expected.id, expected.token))
        return claim or multiple()

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        answer = self.store.beat(claim, Progress(stage="denoise", step=1, steps=2, fraction=0.5))
        assert answer == LeaseStatus(*self.model.beat(claim.job.id, claim.token))

    @rule(claim=claims)
    def commit(self, claim: Claim) -> None:
        result = Result(images=(), gpu_seconds=float(claim.token))
        committed = self.store.commit(claim, result)
        assert committed == self.model.settle("commit", claim.job.id, claim.token)
        if committed:
            assert self.published.setdefault(claim.job.id, result) == result, "published twice"

    @rule(claim=claims, retry=st.booleans())
    def fail(self, claim: Claim, retry: bool) -> None:
        failed = self.store.fail(claim, FAILURE, retry=retry)
        assert failed == self.model.settle("retry" if retry else "fail", claim.job.id, claim.token)

    @rule(claim=claims, counted=st.booleans())
    def postpone(self, claim: Claim, counted: bool) -> None:
        postponed = self.store.postpone(claim, FAILURE, counted=counted)
        assert postponed == self.model.settle("postpone" if counted else "defer", claim.job.id, claim.token)

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        assert self.store.release(claim) == self.model.settle("release", claim.job.id, claim.token)

    @rule(claim=consumes(claims))
    def stopped(self, claim: Claim) -> None:
        assert self.store.canceled(claim) == self.model.settle("canceled", claim.job.id, claim.token)

    @rule(job_id=jobs, by_owner=st.sampled_from([True, True, True, False]))
    def cancel(self, job_id: str, by_owner: bool) -> None:
        known = self.model.jobs.get(job_id)
        owner = known.owner if known and by_owner else "someone else"
        job, expected = self.store.cancel(job_id, owner), self.model.cancel(job_id, owner)
        assert (job and job.state) == expected

    @rule(job_id=jobs, by_owner=st.sampled_from([True, True, True, False]))
    def delete(self, job_id: str, by_owner: bool) -> None:
        known = self.model.jobs.get(job_id)
        owner = known.owner if known and by_owner else "someone else"
        deleted = self.store.delete(job_id, owner)
        assert deleted == self.model.delete(job_id, owner)
        if deleted:
            self.seen.pop(job_id, None)
        assert self.store.unused(PICTURES) == set(PICTURES) - self.model.pictures()

    @rule(claim=claims)
    def cancel_what_a_worker_had(self, claim: Claim) -> None:
        self.cancel(claim.job.id, by_owner=True)

    @rule(step=st.sampled_from([1, 4_000, LEASE, KEEP]))
    def time_passes(self, step: int) -> None:
        self.model.now += step

    @rule(target=claims, queue=OFTEN_ONE_QUEUE)
    def workers_fall_silent(self, queue: str) -> Any:
        self.model.now += LEASE
        return self.claim(queue)

    @rule()
    def sweep(self) -> None:
        swept = self.store.sweep()
        ended, failed, wake, old = self.model.sweep()
        assert (swept.expired, swept.failed) == (ended, failed)
        assert [wake.job_id for wake in swept.wake] == wake
        assert set(swept.collected) == old
        for job_id in old:
            assert self.store.get(job_id) is None
            self.seen.pop(job_id, None)
        assert self.store.unused(PICTURES) == set(PICTURES) - self.model.pictures()

    @rule(target=deletions)
    def pictures_are_marked_for_deletion(self) -> Any:
        marks = self.store.inputs.doom(PICTURES)
        assert marks == self.model.doom(PICTURES, LEASE_SECONDS * 1000)
        return marks or multiple()

    @rule(marks=consumes(deletions))
    def pictures_are_deleted(self, marks: dict[str, int]) -> None:
        self.store.inputs.gone(marks)
        self.model.gone(marks, KEPT_SECONDS * 1000)

    @rule(owner=st.sampled_from(OWNERS), key=st.sampled_from([None, "k1"]), jobs=st.sampled_from([1, 4]))
    def ask_before(self, owner: str, key: str | None, jobs: int) -> None:
        known = self.model.with_key(owner, key)
        full = len(self.model.queued()) + jobs > MAX_QUEUED
        try:
            admission = self.store.admit(owner, key, jobs=jobs)
        except QueueFull:
            assert full
            assert known is None
        else:
            assert known is not None or not full
            held = 10 * len(self.model.pictures(owner))
            assert admission == Admission(held, known.digest if known else None)

    @invariant()
    def records_are_as_expected(self) -> None:
        page = self.store.page(limit=1000)
        assert [job.id for job in page.jobs] == [
            job.id for job in sorted(self.model.jobs.values(), key=lambda job: -job.arrival)
        ]
        for job in page.jobs:
            expected = self.model.jobs[job.id]
            assert (job.state, job.token, job.attempts) == (expected.state, expected.token, expected.attempts)
            self.moved_forward(self.seen.get(job.id), job)
            self.seen[job.id] = job

    def moved_forward(self, before: Job | None, job: Job) -> None:
        assert (job.result is not None) == (job.state is State.SUCCEEDED)
        if job.result:
            assert job.result == self.published[job.id]
        if before is None:
            return
        assert job.token >= before.token
        if before.state.final:
            assert job == before, "a finished job changed"
        if before.state is State.CANCELING:
            assert job.state in (State.CANCELING, State.CANCELED)

    @invariant()
    def counts_are_right(self) -> None:
        queue_stats = self.store.queue_stats()
        lines = {(line.queue, line.priority): line.count for line in queue_stats.queued if line.count}
        assert lines == {line: n for line in self.model.turns if (n := len(self.model.queued(line)))}
        running = sum(job.state in (State.RUNNING, State.CANCELING) for job in self.model.jobs.values())
        assert queue_stats.running == ({"signal-leak": running} if running else {})

    def owners_are_indexed_as_their_queues_are(self) -> None:
        for queue, priority in self.model.turns:
            key = f"{priority}:{queue}"
            depth = {owner: int(jobs) for owner, jobs in self.read(f"depth:{key}").items()}
            assert depth == {owner: n for owner in OWNERS if (n := len(self.model.queued((queue, priority), owner)))}
            counted = {int(jobs): int(owners) for jobs, owners in self.read(f"depths:{key}").items()}
            assert counted == Counter(depth.values())
            turns: dict[str, float] = {}
            for jobs in counted:
                at: Any = self.redis.zrange(f"{self.store._prefix}turns_at:{key}:{jobs}", 0, -1, withscores=True)
                turns |= dict(at)
            assert turns == dict(self.redis.zrange(f"{self.store._prefix}turns:{key}", 0, -1, withscores=True))  # type: ignore[arg-type]

    def read(self, key: str) -> dict[str, str]:
        found: Any = self.redis.hgetall(f"{self.store._prefix}{key}")
        return dict(found)

    def positions_tell_the_order_of_service(self, queue: str) -> None:
        future = copy.deepcopy(self.model)
        order = []
        while job := future.next(queue):
            order.append(job.id)
        assert [self.store.position(self.existing(job_id)) for job_id in order] == list(range(len(order)))

    def existing(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        assert job is not None
        return job


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with RedisProcess(tmp_path_factory.mktemp("model"), "--appendonly", "no") as child:
        yield child.url


def test_the_store_does_what_the_protocol_says(url: str) -> None:
    run_state_machine_as_test(type("Sound", (Protocol,), {"url": url}), settings=RUNS)  # type: ignore[no-untyped-call]


FAULTS = {
    "commit without token compare": {"finish": ("job.token == tonumber(token) and", "")},
    "a canceled job is published": {"finish": ("if job.state == 'canceling' then", "if false then")},
    "a claim takes no new token": {"claim": ("'token', job.token + 1", "'token', math.max(1, job.token)")},
    "leases never end": {
        "sweep": ("= apply_leases(limit, max_attempts)", "= 0, 0"),
        "claim": ("apply_leases(100, max_attempts)", ""),
    },
    "poison is tried for ever": dict.fromkeys(("claim", "sweep"), ("job.attempts >= max_attempts", "false")),
    "a job that is put off is first again": {
        "finish": ("requeue(job, job.attempts - 1, true)", "requeue(job, job.attempts - 1)")
    },
    "a picture that is deleted is named": {"submit": ("if mark and (", "if false and (")},
    "a deleted picture need not be put again": {"submit": (" or tonumber(mark) ~= revived[sha])", ")")},
    "a claim leaves its owner's turn in the index": {
        "claim": ("index_owner(job.priority, queue, job.owner)\nredis.call('HDEL'", "redis.call('HDEL'")
    },
    "a job that is not final is deleted": {"delete": (" or not job.finished", "")},
    "one owner is always first": {"claim": ("if redis.call('ZSCORE', rotation, job.owner)", "if false")},
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_the_model_finds_a_planted_fault(url: str, faults: dict[str, tuple[str, str]]) -> None:
    broken = type("Broken", (Protocol,), {"url": url, "faults": faults})
    search = settings(RUNS, max_examples=5000, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(broken, settings=search)  # type: ignore[no-untyped-call]
