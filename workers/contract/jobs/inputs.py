"""Input pictures that nobody names any more: deleted so that no job or style that is let in finds them gone."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from redis import Redis

from workers.contract.blobs import BlobStore, input_name
from workers.contract.blobs.names import Sha256
from workers.contract.errors import BlobRefused
from workers.contract.jobs import scripts
from workers.contract.jobs.admission import marks_of, numbered
from workers.contract.runtime.redis import redis_errors

LEASE_SECONDS = 120
"""Whoever marks pictures has deleted them by then, or died: others may put them again."""
START_SECONDS = 30
"""A deletion that does not begin this soon after the marks does not begin: its lease must not end before it does."""
KEPT_SECONDS = 3600
"""Marks of deleted pictures are kept this long: longer than anybody takes from putting a picture to naming it."""
AT_ONCE = 500


class InputStore:
    """Synchronous and thread-safe; raises StoreUnavailable when Redis does not answer. Any number may share one."""

    def __init__(self, redis: Redis, *, prefix: str = "stylize:", clock: Callable[[], int] | None = None) -> None:
        self._redis = redis
        self._prefix = prefix
        self._clock = clock
        self._script = redis.register_script(scripts.source("inputs"))

    def doom(self, inputs: Iterable[Sha256]) -> dict[Sha256, int]:
        """Mark those pictures that no job or style names, so that none comes to name them; return their marks."""
        return marks_of(self._run("doom", LEASE_SECONDS * 1000, *inputs))

    def gone(self, marks: Mapping[Sha256, int]) -> None:
        """Note that the pictures with these marks are deleted: they may be named once they are put again."""
        self._run("gone", KEPT_SECONDS * 1000, numbered(marks))

    def held(self, owner: str, inputs: Iterable[Sha256]) -> set[Sha256]:
        """Return those of some pictures that are among the bytes that an owner holds."""
        asked = list(inputs)
        with redis_errors():
            sizes: Any = self._redis.hmget(f"{self._prefix}held:{owner}", asked)
        return {sha256 for sha256, size in zip(asked, sizes, strict=True) if size is not None}

    def recount(self) -> None:
        """Drop pictures that their owners no longer name from the bytes that these hold.

        Releases before 0.2 forget jobs without counting bytes.
        """
        with redis_errors():
            owners: Any = self._redis.hkeys(f"{self._prefix}bytes")
            for owner in owners:
                rest: Iterator[Any] = self._redis.hscan_iter(f"{self._prefix}held:{owner}", count=AT_ONCE)
                while batch := [sha256 for sha256, _ in islice(rest, AT_ONCE)]:
                    self._run("recount", owner, *batch)

    def _run(self, *args: str | int) -> list[str]:
        with redis_errors():
            answer: list[str] = self._script(keys=[self._prefix], args=[self._clock() if self._clock else "", *args])
            return answer


def delete_unused(store: InputStore, blobs: BlobStore, inputs: Iterable[Sha256]) -> int:
    """Delete those pictures that no job or style names; return how many. Raises StoreUnavailable, BlobError."""
    asked = list(inputs)
    if not asked:
        return 0
    began = time.monotonic()
    marks = store.doom(asked)
    if not marks or time.monotonic() - began > START_SECONDS:
        return 0
    try:
        blobs.delete([input_name(sha256) for sha256 in marks])
    except BlobRefused:
        store.gone(marks)  # the deletion is over, whatever it has left
        raise
    store.gone(marks)
    return len(marks)
