"""When a job will be done: learnt from jobs of its kind, kept small, waiting and running told apart."""

import random
import secrets
import statistics
from dataclasses import dataclass, field

import pytest
from redis import Redis

from tests.integration.conftest import new_job
from workers.contract.jobs.models import Job, Progress, Result
from workers.contract.jobs.record import batch_key
from workers.contract.jobs.results import Claim, QueueEstimate, WorkerStatus
from workers.contract.jobs.store import JobStore


@dataclass
class World:
    """A store and its time. A job takes as long as its steps, a hundredth of a second each, times the `luck`."""

    redis: Redis
    now: int = 1_700_000_000_000
    running: dict[str, tuple[int, Claim]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.prefix = f"{secrets.token_hex(4)}:"
        self.store = JobStore(self.redis, lease_seconds=3600, prefix=self.prefix, clock=lambda: self.now)

    def workers(self, *names: str, queue: str = "sd15") -> None:
        for name in names:
            self.store.announce(WorkerStatus(id=name, queues=(queue,), models=(queue,), state="idle"), 3600)

    def submit(self, steps: int = 100, *, owner: str = "ann", size: int = 64) -> Job:
        new = new_job(owner=owner)
        request = new.request.model_copy(update={"steps": steps, "width": size, "height": size})
        new = new.model_copy(update={"request": request})
        self.store.submit(new)
        return new

    def estimate(self, new: Job) -> QueueEstimate:
        job = self.store.get(new.id)
        assert job is not None
        estimate = self.store.estimate(job)
        assert estimate is not None
        return estimate

    def claim(self, worker: str, luck: float = 1.0) -> Claim | None:
        claim = self.store.claim("sd15", worker)
        if claim:
            self.running[worker] = (self.now + round(claim.job.request.steps * 10 * luck), claim)
        return claim

    def finish(self, worker: str) -> Claim:
        self.now, claim = self.running.pop(worker)
        assert self.store.commit(claim, Result(images=()))
        return claim

    def did(self, steps: int = 100, *, luck: float = 1.0, size: int = 64) -> None:
        self.submit(steps, size=size)
        self.claim("w1", luck)
        self.finish("w1")


@pytest.fixture
def world(redis: Redis) -> World:
    world = World(redis)
    world.workers("w1")
    return world


def test_nothing_is_promised_before_anything_was_done(world: World) -> None:
    assert world.estimate(world.submit()) == QueueEstimate(0, 0.0, None)
    assert world.estimate(world.submit()) == QueueEstimate(1, None, None)


def test_nothing_is_promised_without_a_worker(redis: Redis) -> None:
    world = World(redis)
    world.did()
    assert world.estimate(world.submit()) == QueueEstimate(0, None, None)


def test_waiting_is_told_apart_from_running(world: World) -> None:
    world.did(100)
    first, second = world.submit(100), world.submit(100)
    assert world.estimate(first) == QueueEstimate(0, 0.0, 1.0)
    assert world.estimate(second) == QueueEstimate(1, 1.0, 2.0)
    world.claim("w1")
    world.now += 400
    assert world.estimate(first) == QueueEstimate(None, 0.0, 0.6)
    assert world.estimate(second) == QueueEstimate(0, 0.6, 1.6)


def test_what_waits_long_is_not_thought_to_take_long(world: World) -> None:
    world.submit(100)
    world.now += 60_000
    world.claim("w1")
    world.finish("w1")
    assert world.estimate(world.submit(100)).finish_seconds == 1.0


def test_the_work_is_shared_by_the_workers_of_the_queue(world: World) -> None:
    world.did(100)
    world.workers("w2")
    world.workers("elsewhere", queue="sdxl")
    assert [world.estimate(world.submit(100)).start_seconds for _ in range(5)] == [0.0, 0.0, 1.0, 1.0, 2.0]


def test_other_sizes_and_steps_are_guessed_from_the_work_in_them(world: World) -> None:
    world.did(100, size=64)
    assert world.estimate(world.submit(50, size=64)).finish_seconds == 0.5
    assert world.estimate(world.submit(100, size=128)).finish_seconds == pytest.approx(0.5 + 4.0)


def test_the_median_of_the_last_counts(world: World) -> None:
    for luck in (9.0, *(1.0,) * 9, 50.0):
        world.did(100, luck=luck)
    assert world.estimate(world.submit(100)).finish_seconds == 1.0


def test_progress_tells_about_a_job_of_unknown_kind(world: World) -> None:
    new = world.submit()
    claim = world.claim("w1")
    assert claim is not None
    world.now += 3000
    assert world.estimate(new) == QueueEstimate(None, 0.0, None)
    assert world.store.beat(claim, Progress(stage="denoise", step=1, steps=4, fraction=0.25)).held
    assert world.estimate(new) == QueueEstimate(None, 0.0, 9.0)


def test_others_turns_count(world: World) -> None:
    world.did(100)
    for _ in range(200):
        world.submit(100)
    bob = world.submit(100, owner="bob")
    assert world.estimate(bob) == QueueEstimate(0, 0.0, 1.0)
    assert world.estimate(world.submit(100)).start_seconds == pytest.approx(201.0)


def test_jobs_done_together_are_foreseen_together(world: World) -> None:
    """Four jobs together take three times as long as one; a fifth waits for them."""
    world.did(100)
    jobs = [world.submit(100) for _ in range(4)]
    lead = world.store.claim("sd15", "w1")
    assert lead is not None
    mates = [world.store.claim("sd15", "w1", batch_key(lead.job.request)) for _ in range(4)]
    assert mates.pop() is None
    world.now += 3000
    for claim in (lead, *mates):
        assert claim is not None
        assert world.store.commit(claim, Result(images=()))
    jobs = [world.submit(100) for _ in range(6)]
    foreseen = [(world.estimate(new).start_seconds, world.estimate(new).finish_seconds) for new in jobs]
    assert foreseen == [(0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (0.0, 3.0), (3.0, 4.0), (3.0, 5.0)]
    other = world.submit(100, size=128)
    assert world.estimate(other).start_seconds == 5.0, "another size is not done together with these"
    claim = world.claim("w1")
    assert claim is not None
    assert world.estimate(jobs[0]).finish_seconds == 1.0
    world.store.claim("sd15", "w1", batch_key(claim.job.request))
    assert world.estimate(jobs[1]).finish_seconds == 2.0, "now there are two of them"


def test_what_is_learnt_is_bounded(world: World) -> None:
    for steps in range(1, 700):
        world.did(steps)
    kept = world.redis.hgetall(f"{world.prefix}times")
    assert len(kept) <= 501
    assert all(len(str(times).split()) <= 9 for times in kept.values())
    assert world.redis.zcard(f"{world.prefix}times:used") == len(kept)
    assert world.estimate(world.submit(699)).finish_seconds == pytest.approx(6.99)


def test_promises_are_held_against_what_became_of_them(world: World) -> None:
    world.did(100)
    for luck in (1.0, 1.4, 4.0):
        world.did(100, luck=luck)
    queue_stats = world.store.queue_stats()
    assert queue_stats.eta_errors == {"0.5": 2, "5.0": 1}
    assert queue_stats.eta_error_seconds == pytest.approx(0.0 + 0.4 + 3.0, abs=0.01)


def test_the_median_promise_is_at_most_a_fifth_off(redis: Redis) -> None:
    """Three kinds of jobs on two workers, each taking up to a quarter more or less than usual."""
    world, chance = World(redis), random.Random(3)
    world.workers("w1", "w2")
    for steps in (50, 100, 200) * 10:
        world.did(steps, luck=chance.uniform(0.75, 1.25))
    off: list[float] = []
    promised: dict[str, tuple[int, float]] = {}
    for _ in range(150):
        for _ in range(chance.choice([0, 1, 1, 3])):
            new = world.submit(chance.choice([50, 100, 200]), owner=chance.choice(["ann", "bob"]))
            seconds = world.estimate(new).finish_seconds
            assert seconds is not None
            promised[new.id] = (world.now, seconds)
        for worker in {"w1", "w2"} - set(world.running):
            world.claim(worker, chance.uniform(0.75, 1.25))
        if world.running:
            done = world.finish(min(world.running, key=lambda worker: world.running[worker][0]))
            asked, seconds = promised.pop(done.job.id)
            off.append(abs(seconds - (world.now - asked) / 1000) / ((world.now - asked) / 1000))
    assert len(off) >= 100
    assert statistics.median(off) <= 0.2
