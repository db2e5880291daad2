"""What each kept release wrote into Redis is read, run and ended by this one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from app.auth.key_store import KeyStore
from deploy.embedded.redis import RedisProcess
from tests.integration.jobs.record_release import FOLDER, GROUP, STATES, STYLE, load
from workers.contract.jobs.comparisons import ComparisonStore
from workers.contract.jobs.models import Result, State
from workers.contract.jobs.outbox import Outbox
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.styles.store import StyleStore


@pytest.fixture(params=sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Redis]:
    with RedisProcess(tmp_path / "redis") as child, connect(child.url) as redis:
        load(redis, json.loads(request.param.read_text()))
        yield redis


def test_there_is_a_release_to_read() -> None:
    assert list(FOLDER.glob("*.json"))


def test_all_of_it_is_read(kept: Redis) -> None:
    store = JobStore(kept)
    jobs = {state: store.get(f"kept-{state}") for state in STATES}
    assert {state: job.state.value for state, job in jobs.items() if job} == {state: state for state in STATES}
    page = store.page(owner="ann", limit=50)
    assert (len(page.jobs), page.unreadable) == (len(STATES) + 2, ())
    group = ComparisonStore(kept, keep_seconds=60).get(GROUP, "ann")
    assert group is not None
    assert len(group.cells) == 2
    style = StyleStore(kept).get(STYLE, "ann")
    assert style is not None
    assert style.name == "ink"
    assert [key.name for key in KeyStore(kept).all().values()] == ["kept"]
    assert [attempt.outcome for attempt in Outbox(kept).log("kept-succeeded")] == ["failed"]
    assert [worker.models for worker in store.workers()] in ([("sd15",)], [])


def test_its_jobs_run_to_their_end(kept: Redis) -> None:
    store = JobStore(kept, retention_seconds=10**9)
    done = set()
    while claim := store.claim("sd15", "worker"):
        assert store.commit(claim, Result(images=()))
        done.add(claim.job.id)
    assert {"kept-queued", "kept-cell-0", "kept-cell-1"} <= done
    store.sweep()
    job = store.get("kept-queued")
    assert job is not None
    assert job.state is State.SUCCEEDED
