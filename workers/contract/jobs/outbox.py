"""The outbox: calls that final jobs want made, written with the final state, kept until taken or given up."""

import base64
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from redis import Redis

from workers.contract.jobs import scripts
from workers.contract.jobs.models import Frozen
from workers.contract.jobs.stored import readable
from workers.contract.runtime.redis import redis_errors

KEPT_ATTEMPTS = 50
Outcome = Literal["delivered", "failed", "gone", "refused"]


class Attempt(Frozen):
    """One call that was tried: what came of it, in how many seconds, and when it is tried again."""

    at: datetime
    outcome: Outcome
    status: int | None = None
    detail: str = ""
    seconds: float
    next_at: datetime | None = None


class Due(NamedTuple):
    """A call to be made now, after so many tries."""

    job_id: str
    owner: str
    tries: int


class Outbox:
    """Synchronous and thread-safe; raises StoreUnavailable when Redis does not answer. Any number may share one."""

    def __init__(self, redis: Redis, *, prefix: str = "stylize:") -> None:
        self._redis = redis
        self._prefix = prefix
        self._script = redis.register_script(scripts.source("outbox"))

    def due(
        self, most: int, lease_seconds: float, per_owner: int, running: Mapping[str, int] | None = None
    ) -> list[Due]:
        """Take up to so many calls that are due; they are due again after the lease unless noted before.

        An owner gets at most `per_owner` of them, less those `running`; its others are due again in a second.
        """
        busy = (word for pair in (running or {}).items() for word in pair)
        flat = self._run("due", most, round(lease_seconds * 1000), per_owner, *busy)
        return [Due(job_id, owner, int(tries)) for job_id, owner, tries in zip(*[iter(flat)] * 3, strict=True)]

    def note(self, job_id: str, attempt: Attempt, again_seconds: float | None) -> None:
        """Write an attempt into the job's log, and when to try again (None: never)."""
        again = "" if again_seconds is None else round(again_seconds * 1000)
        self._run("note", job_id, attempt.model_dump_json(), again, KEPT_ATTEMPTS)

    def replay(self, job_id: str) -> Literal["due", "open", "none"]:
        """Have a final job's call made again at once; see outbox.lua for the answers."""
        answer: Literal["due", "open", "none"] = self._run("replay", job_id)
        return answer

    def log(self, job_id: str) -> list[Attempt]:
        """Return the last attempts of a job's call, the oldest first."""
        with redis_errors():
            texts: Any = self._redis.lrange(f"{self._prefix}hooklog:{job_id}", 0, -1)
        return readable(Attempt, texts)

    def secret(self, owner: str) -> str:
        """Return what signs the calls to an owner: made of one secret that the store keeps, different for each."""
        name = f"{self._prefix}hooksecret"
        with redis_errors():
            self._redis.set(name, secrets.token_hex(32), nx=True)
            root = str(self._redis.get(name))
        return "whsec_" + base64.b64encode(hmac.new(root.encode(), owner.encode(), sha256).digest()).decode()

    def _run(self, *args: str | int) -> Any:
        with redis_errors():
            return self._script(keys=[self._prefix], args=["", *args])
