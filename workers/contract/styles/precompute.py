"""What depends on a style alone, computed before somebody draws in it: which jobs do so, which workers have it.

A preparation is known by what it prepares, not by its job: the workers tell which they still have in their caches.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence

from redis import Redis

from workers.contract.jobs.models import PrecomputeRequest
from workers.contract.runtime.redis import redis_errors


def precompute_key(request: PrecomputeRequest) -> str:
    """Return what stands for a preparation: the same for equal requests, here and at the workers."""
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()


class PrecomputeStore:
    """Synchronous and thread-safe; raises StoreUnavailable when Redis does not answer. Any number may share one."""

    def __init__(self, redis: Redis, *, prefix: str = "stylize:") -> None:
        self._redis = redis
        self._prefix = prefix

    def put_jobs(self, style_id: str, jobs: Mapping[str, str], keep_seconds: float) -> None:
        """Remember for some time the newest jobs of some preparations of a style."""
        with redis_errors():
            batch = self._redis.pipeline()
            for preparation, job_id in jobs.items():
                batch.hset(self._jobs(style_id), preparation, job_id)
            batch.pexpire(self._jobs(style_id), round(keep_seconds * 1000))
            batch.execute()

    def jobs(self, style_ids: Sequence[str]) -> list[dict[str, str]]:
        """Return for each style the id of the newest job of each preparation, as far as they are remembered."""
        with redis_errors():
            batch = self._redis.pipeline(transaction=False)
            for style_id in style_ids:
                batch.hgetall(self._jobs(style_id))
            return list(batch.execute())

    def report(self, worker: str, held: Collection[str], seconds: float) -> None:
        """Say which preparations a worker has in its cache; it is believed for `seconds`."""
        name = self._held(worker)
        with redis_errors():
            batch = self._redis.pipeline()
            batch.delete(name)
            if held:
                batch.sadd(name, *held)
                batch.pexpire(name, round(seconds * 1000))
            batch.execute()

    def count_workers_with(self, workers: Sequence[str], asked: Sequence[str]) -> list[int]:
        """Return for each preparation how many of the workers have it."""
        if not workers or not asked:
            return [0] * len(asked)
        with redis_errors():
            batch = self._redis.pipeline(transaction=False)
            for worker in workers:
                batch.smismember(self._held(worker), list(asked))
            return [sum(each) for each in zip(*batch.execute(), strict=True)]

    def _jobs(self, style_id: str) -> str:
        return f"{self._prefix}preparing:{style_id}"

    def _held(self, worker: str) -> str:
        return f"{self._prefix}prepared:{worker}"
