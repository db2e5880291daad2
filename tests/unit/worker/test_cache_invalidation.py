"""The forgetter on a real store: each deleted style's pictures are told once, to those that slept as well."""

from collections.abc import Collection, Sequence
from pathlib import Path

from redis import Redis

from tests.faults.harness.fake import FakeEngine
from tests.faults.harness.trouble import Troubles
from tests.integration.conftest import PRECOMPUTE, new_job
from tests.support.service import until
from workers.contract.blobs.disk import DiskBlobs
from workers.contract.jobs.models import from_millis
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.styles.store import Style, StyleReference, StyleStore
from workers.engine.types import BatchItem, GenerationResult
from workers.settings import WorkerSettings
from workers.worker.runner import Runner
from workers.worker.threads.cache_invalidation import CacheInvalidator
from workers.worker.threads.heartbeat import Heartbeat

PERIOD = 0.05


def saved(styles: StyleStore, name: str, *pictures: str) -> Style:
    references = tuple(StyleReference(sha256=picture, weight=1) for picture in pictures)
    style = Style(id=name, owner="ann", name=name, references=references, versions={}, created_at=from_millis(0))
    assert styles.save(style, 10)
    return style


def test_the_pictures_of_deleted_styles_are_forgotten_once(redis: Redis, store: JobStore) -> None:
    styles = StyleStore(redis, prefix=store._prefix)
    for name, picture in (("kept", "a"), ("before", "b"), ("after", "c")):
        saved(styles, name, picture * 64, "d" * 64)
    assert styles.delete("before", "ann")
    assert not styles.delete("after", "somebody else")
    told: list[set[str]] = []

    def forget(pictures: Collection[str]) -> None:
        told.append(set(pictures))

    thread = CacheInvalidator(styles, forget, period=PERIOD)
    thread.start()
    until(lambda: told, "what was deleted before the start is told", patience=60)
    styles.delete("after", "ann")
    until(lambda: len(told) > 1, "and what is deleted after", patience=60)
    thread.end()
    thread.join(60)
    assert told == [{"b" * 64, "d" * 64}, {"c" * 64, "d" * 64}]


def test_without_redis_it_waits() -> None:
    told: list[Collection[str]] = []
    thread = CacheInvalidator(StyleStore(connect("redis://127.0.0.1:1/0")), told.append, period=PERIOD)
    thread.start()
    thread.join(10 * PERIOD)
    assert thread.is_alive()
    thread.end()
    thread.join(60)
    assert not thread.is_alive()
    assert told == []


def test_a_deletion_is_obeyed_before_a_later_precompute_job(redis: Redis, store: JobStore, tmp_path: Path) -> None:
    styles, order = StyleStore(redis, prefix=store._prefix), []
    thread = CacheInvalidator(styles, lambda pictures: order.append(set(pictures)), period=3600.0)
    saved(styles, "poster", "a" * 64)
    styles.delete("poster", "ann")

    class Engine(FakeEngine):
        def run_batch(self, works: Sequence[BatchItem]) -> list[GenerationResult | Exception]:
            order.append("precomputed")
            return super().run_batch(works)

    store.submit(new_job().model_copy(update={"request": PRECOMPUTE}))
    settings, engine = WorkerSettings(models=("sd15",)), Engine(Troubles(tmp_path), 0.0)
    beat = Heartbeat(store, lease_seconds=30)
    runner = Runner(store, DiskBlobs(tmp_path), engine, beat, settings, worker="w", forget_deleted=thread.run_once)
    assert runner.drain() == 1
    runner.close()
    assert order == [{"a" * 64}, "precomputed"]
