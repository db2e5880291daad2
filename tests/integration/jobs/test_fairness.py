"""No owner can keep the others waiting, and what waits costs no more the more owners there are."""

import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from tests.integration.conftest import new_job
from workers.contract.errors import TooManyActive
from workers.contract.jobs import scripts
from workers.contract.jobs.models import PRIORITIES, Result
from workers.contract.jobs.results import Claim, WorkerStatus
from workers.contract.jobs.store import JobStore


def owners_of_next(store: JobStore, count: int) -> list[str]:
    """Return whose jobs the next claims are."""
    return [claim.job.owner for _ in range(count) if (claim := store.claim("sd15", "w"))]


def test_one_of_another_owner_starts_before_two_hundred(store: JobStore) -> None:
    for _ in range(200):
        store.submit(new_job(owner="ann"))
    assert owners_of_next(store, 3) == ["ann"] * 3
    bob = store.submit(new_job(owner="bob")).job
    assert store.position(bob) == 0
    assert owners_of_next(store, 3) == ["bob", "ann", "ann"]
    store.submit(new_job(owner="bob"))
    assert owners_of_next(store, 2) == ["bob", "ann"], "ann was served after bob"


def test_who_comes_again_and_again_does_not_keep_out_who_waits(store: JobStore) -> None:
    for _ in range(20):
        store.submit(new_job(owner="ann"))
    served = []
    for _ in range(10):
        store.submit(new_job(owner="bob"))
        served += owners_of_next(store, 1)
    assert served.count("ann") == served.count("bob") == 5


def test_new_owners_are_served_as_they_came(store: JobStore) -> None:
    names = ["zoe", "ann", "mia"]
    for name in names:
        store.submit(new_job(owner=name))
    assert owners_of_next(store, 3) == names


def test_unfinished_jobs_of_an_owner_are_bounded(store: JobStore) -> None:
    first, second = (store.submit(new_job(owner="ann"), max_active=2).job for _ in range(2))
    with pytest.raises(TooManyActive):
        store.submit(new_job(owner="ann"), max_active=2)
    assert store.submit(new_job(owner="bob"), max_active=2).created
    claim = store.claim("sd15", "w")
    assert claim is not None
    assert claim.job.id == first.id
    with pytest.raises(TooManyActive):
        store.submit(new_job(owner="ann"), max_active=2)
    assert store.commit(claim, Result(images=()))
    third = store.submit(new_job(owner="ann"), max_active=2).job
    store.cancel(second.id)
    store.cancel(third.id)
    assert all(store.submit(new_job(owner="ann"), max_active=2).created for _ in range(2))


def test_the_first_job_is_found_again_although_there_are_too_many(store: JobStore) -> None:
    new = new_job(owner="ann", idempotency_key="k")
    assert store.submit(new, max_active=1).created
    assert not store.submit(new_job(owner="ann", idempotency_key="k"), max_active=1).created


NEW_WORK = ("index_owner", "note_change")
"""What scripts do that those of the release before did not."""


@pytest.fixture
def open_store(redis: Redis) -> Callable[[], JobStore]:
    def opened() -> JobStore:
        store = JobStore(redis, lease_seconds=600, max_queued=100_000, prefix=f"{secrets.token_hex(4)}:")
        store.announce(WorkerStatus(id="worker", queues=("sd15",), models=("sd15",), state="idle"), 600)
        store.position(store.submit(new_job()).job)  # Redis knows the scripts then
        finish(store, claim(store))
        return store

    return opened


@pytest.fixture
def busy_store(open_store: Callable[[], JobStore]) -> JobStore:
    return open_store()


def claim(store: JobStore) -> Claim:
    found = store.claim("sd15", "worker")
    assert found is not None
    return found


def finish(store: JobStore, claim: Claim) -> None:
    assert store.commit(claim, Result(images=()))


def fill(store: JobStore, jobs: int, owners: int) -> list[str]:
    return [store.submit_all([new_job(owner=f"o{number % owners}")])[0] for number in range(jobs)]


@contextmanager
def counted(redis: Redis) -> Iterator[dict[str, int]]:
    """Give the commands that Redis runs meanwhile, those of scripts included, by name."""

    def calls() -> dict[str, int]:
        return {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats().items()}

    def stats() -> dict[str, Any]:
        found: dict[str, Any] = redis.info("commandstats")
        return found

    before, made = calls(), {}
    yield made
    made |= {name: count - before.get(name, 0) for name, count in calls().items()}
    del made["info"]


def test_a_submit_and_a_look_take_as_many_commands_for_many_owners_as_for_some(
    redis: Redis, open_store: Callable[[], JobStore]
) -> None:
    costs = []
    for owners in (100, 400):
        store = open_store()
        ids = fill(store, owners, owners)
        last = store.submit(new_job(owner="o7")).job
        with counted(redis) as submit:
            store.submit(new_job(owner="o8"))
        with counted(redis) as look:
            assert store.position(last) == owners
        assert store.estimates([ids[-1]])[ids[-1]].position == owners - 1
        costs.append((submit, look))
    assert costs[0] == costs[1]


def test_a_deep_queue_takes_as_many_commands_as_a_shallow_one(redis: Redis, open_store: Callable[[], JobStore]) -> None:
    costs = []
    for jobs in (100, 400):
        store = open_store()
        last = store.get(fill(store, jobs, 2)[-1])
        assert last is not None
        with counted(redis) as look:
            assert store.position(last) == jobs - 1
        costs.append(sum(look.values()))
    assert costs[0] == costs[1]


def test_a_page_is_estimated_by_one_call_that_looks_once_at_the_queue(redis: Redis, busy_store: JobStore) -> None:
    ids = fill(busy_store, 300, 3)
    with counted(redis) as one:
        busy_store.estimates(ids[-1:])
    with counted(redis) as page:
        found = busy_store.estimates(ids[-100:])
    assert [found[job_id].position for job_id in ids[-100:]] == list(range(200, 300))
    assert (one["evalsha"], page["evalsha"]) == (1, 1)
    assert sum(page.values()) - sum(one.values()) <= 99 * 5


def order_of_service(store: JobStore) -> list[str]:
    order = []
    while found := store.claim("sd15", "worker"):
        order.append(found.job.id)
    return order


def fill_unevenly(store: JobStore, chance: random.Random, jobs: int) -> list[str]:
    """Let jobs of owners wait of whom some have many, some were served before, some are urgent; return their ids."""
    owners = [f"o{number}" for number in range(chance.choice([3, 40, 90]))]
    ids = []
    for _ in range(jobs):
        owner = owners[min(int(chance.expovariate(4 / len(owners))), len(owners) - 1)]
        priority = PRIORITIES[chance.random() < 0.5]
        ids.append(store.submit_all([new_job(owner=owner, priority=priority)])[0])
        if chance.random() < 0.2:
            store.claim("sd15", "worker")
        elif chance.random() < 0.1:
            store.cancel(chance.choice(ids))
    return ids


@pytest.mark.parametrize("seed", range(4))
def test_places_are_the_order_of_service(busy_store: JobStore, seed: int) -> None:
    ids = fill_unevenly(busy_store, random.Random(seed), 260)
    places = {
        job_id: found.position for job_id, found in busy_store.estimates(ids).items() if found.position is not None
    }
    versions = busy_store.versions(ids)
    assert {job_id: int(versions[job_id].split()[-1]) for job_id in places} == places
    order = order_of_service(busy_store)
    assert len(order) > 64
    assert [places[job_id] for job_id in order] == list(range(len(order)))


def old_store(store: JobStore, redis: Redis) -> JobStore:
    """Return the store of a process of the release before, whose scripts do not know the index nor the changes."""
    old = JobStore(redis, lease_seconds=600, max_queued=100_000, prefix=store._prefix)
    for name in scripts.NAMES:
        text = scripts.source(name)
        for work in NEW_WORK:
            head = text.index(f"local function {work}(")
            arguments = text.index(")", head) + 1
            text = f"{text[:arguments]} do return end {text[arguments:]}"
        old._scripts[name] = redis.register_script(text)
    return old


@pytest.mark.parametrize("seed", range(2))
def test_places_are_right_beside_processes_of_the_release_before(redis: Redis, busy_store: JobStore, seed: int) -> None:
    chance, old = random.Random(seed), old_store(busy_store, redis)
    for _ in range(2):
        ids = fill_unevenly(busy_store, chance, 60) + fill_unevenly(old, chance, 120)
        assert busy_store.estimates(ids)
        claim(old)
    places = [found.position for found in busy_store.estimates(ids).values() if found.position is not None]
    order = order_of_service(chance.choice([busy_store, old]))
    assert len(places) > 64
    assert sorted(places) == sorted(order.index(job_id) for job_id in ids if job_id in order)


def test_a_full_redis_still_tells_places(redis: Redis, busy_store: JobStore) -> None:
    ids = fill(old_store(busy_store, redis), 200, 100)
    limit = redis.config_get("maxmemory")["maxmemory"]
    redis.config_set("maxmemory", 1)
    try:
        assert [found.position for found in busy_store.estimates(ids).values()] == list(range(200))
    finally:
        redis.config_set("maxmemory", limit)


def test_changes_are_listed_once_each_and_from_where_one_left_off(busy_store: JobStore) -> None:
    mark = busy_store.newest_change()
    first, second = fill(busy_store, 2, 2)
    assert busy_store.changes(mark, 0.01) == (mark, set()), "a new job has no followers"
    held = claim(busy_store)
    mark, changed = busy_store.changes(mark, 0.01)
    assert changed == {first}
    finish(busy_store, held)
    busy_store.cancel(second)
    mark, changed = busy_store.changes(mark, 0.01)
    assert changed == {first, second}
    assert busy_store.changes(mark, 0.01) == (mark, set())


def test_the_list_of_changes_is_bounded(redis: Redis, busy_store: JobStore) -> None:
    entries = redis.pipeline()
    for _ in range(5000):
        entries.xadd(f"{busy_store._prefix}changes", {"job": "another"})
    entries.execute()
    fill(busy_store, 1, 1)
    claim(busy_store)
    assert 1000 <= redis.xlen(f"{busy_store._prefix}changes") < 1200
