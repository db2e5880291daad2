"""The worker's word on prepared styles, on a real store: told when it changes, renewed, gone when it is not."""

import logging

import pytest
from redis import Redis

from tests.support.service import until
from workers.contract.jobs.store import JobStore
from workers.contract.runtime.redis import connect
from workers.contract.styles.precompute import PrecomputeStore
from workers.worker.threads import precompute_report
from workers.worker.threads.precompute_report import PrecomputeReporter

PERIOD = 0.05


def test_what_a_worker_has_is_known_while_it_says_so(redis: Redis, store: JobStore) -> None:
    preparations = PrecomputeStore(redis, prefix=store._prefix)
    preparations.report("other", {"b", "c"}, 60)
    held = {"a", "b"}
    teller = PrecomputeReporter(preparations, "this", lambda: frozenset(held), period=PERIOD)
    teller.start()

    def known() -> list[int]:
        return preparations.count_workers_with(["this", "other", "nobody"], ["a", "b", "c", "d"])

    until(lambda: known() == [1, 2, 1, 0], "both tell what they have", patience=60)
    held.remove("b")
    until(lambda: known() == [1, 1, 1, 0], "what had to go is not told any more", patience=60)
    held.clear()
    until(lambda: known() == [0, 1, 1, 0], "nor what was the last", patience=60)
    teller.end()
    teller.join(60)
    assert not teller.is_alive()


def test_it_is_told_again_before_it_is_believed_no_more(
    redis: Redis, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precompute_report, "TTL_SECONDS", 1.0)
    preparations = PrecomputeStore(redis, prefix=store._prefix)
    teller = PrecomputeReporter(preparations, "this", lambda: {"a"}, period=PERIOD)
    teller.start()
    until(lambda: preparations.count_workers_with(["this"], ["a"]) == [1], "it is told", patience=60)
    redis.delete(f"{store._prefix}prepared:this")
    until(lambda: preparations.count_workers_with(["this"], ["a"]) == [1], "and again", patience=60)
    teller.end()
    teller.join(60)
    until(lambda: preparations.count_workers_with(["this"], ["a"]) == [0], "until the worker is gone", patience=60)


def test_without_redis_it_says_so_and_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    away = PrecomputeStore(connect("redis://127.0.0.1:1/0"))
    with caplog.at_level(logging.WARNING):
        teller = PrecomputeReporter(away, "this", lambda: {"a"}, period=PERIOD)
        teller.start()
        until(lambda: len(caplog.records) > 1, "it tries again", patience=60)
        teller.end()
        teller.join(60)
    assert "cannot tell which styles are prepared" in caplog.text
    assert not teller.is_alive()
