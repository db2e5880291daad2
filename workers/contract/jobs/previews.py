"""Previews: one small picture per running job, the newest only, gone when the job stops running."""

from base64 import b64decode, b64encode

from redis import Redis

from workers.contract.jobs import scripts
from workers.contract.jobs.results import Claim
from workers.contract.runtime.redis import redis_errors

LIFETIME_SECONDS = 600
"""A preview that nobody renews or deletes goes by itself."""


class PreviewStore:
    """Synchronous and thread-safe; raises StoreUnavailable when Redis does not answer or refuses to write."""

    def __init__(self, redis: Redis, *, prefix: str = "stylize:") -> None:
        self._redis = redis
        self._prefix = prefix
        self._script = redis.register_script(scripts.source("preview"))

    def show(self, claim: Claim, step: int, jpeg: bytes) -> bool:
        """Show a job after a step. False when it is held no more or being canceled: nothing is kept then."""
        picture = b64encode(jpeg).decode()
        with redis_errors():
            kept = self._script(
                keys=[self._prefix],
                args=["", claim.job.id, claim.token, step, picture, LIFETIME_SECONDS * 1000],
            )
        return bool(kept)

    def get(self, job_id: str) -> bytes | None:
        """Return the newest preview of a job, a JPEG file, or None when there is none."""
        with redis_errors():
            picture = self._redis.get(f"{self._prefix}preview:{job_id}")
        return b64decode(str(picture)) if picture else None
