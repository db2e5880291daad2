"""Saved styles: references with weights under a name, kept until they are deleted."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from redis import Redis

from workers.contract.blobs.names import Sha256
from workers.contract.jobs import scripts
from workers.contract.jobs.admission import NOTHING_PUT, PutInputs, raise_refusal
from workers.contract.jobs.models import Frozen
from workers.contract.jobs.stored import Versioned, read_known, readable
from workers.contract.runtime.redis import redis_errors


class StyleReference(Frozen):
    """One picture of a style and how much it counts beside the others."""

    sha256: Sha256
    weight: float = Field(ge=0)


class Style(Versioned):
    """A saved style. `versions` is what each technique's version was then: the look that it was saved for."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    owner: str
    name: str
    references: tuple[StyleReference, ...]
    versions: dict[str, int]
    created_at: datetime


class StyleStore:
    """Synchronous and thread-safe; raises StoreUnavailable when Redis does not answer. Any number may share one."""

    def __init__(self, redis: Redis, *, prefix: str = "stylize:") -> None:
        self._redis = redis
        self._prefix = prefix
        self._script = redis.register_script(scripts.source("style"))

    def save(self, style: Style, most: int, put: PutInputs = NOTHING_PUT) -> bool:
        """Keep a style and its pictures. Returns False when the owner has `most` styles already.

        Raises StorageQuota, InputsDeleted.
        """
        inputs = " ".join(sorted({reference.sha256 for reference in style.references}))
        verdict, *rest = self._run(style.id, style.owner, style.model_dump_json(), inputs, most, *put.arguments())
        raise_refusal(verdict, rest, 0)
        return bool(verdict == "saved")

    def count(self, owner: str) -> int:
        """Return how many styles an owner has."""
        with redis_errors():
            return int(self._redis.zcard(f"{self._prefix}styles:{owner}"))

    def delete(self, style_id: str, owner: str) -> bool:
        """Delete an owner's style. Returns False when there is none."""
        return bool(self._run(style_id, owner, "", "", 0, *NOTHING_PUT.arguments())[0] == "deleted")

    def get(self, style_id: str, owner: str) -> Style | None:
        """Return an owner's style, or None when there is none. Raises UnreadableRecord."""
        texts = self._read([style_id])
        style = read_known(Style, texts[0]) if texts else None
        return style if style and style.owner == owner else None

    def page(self, owner: str, *, limit: int, cursor: str | None) -> tuple[list[Style], str | None]:
        """Return up to `limit` styles of an owner, newest first, and the cursor of the next page."""
        top = f"({cursor}" if cursor else "+inf"
        with redis_errors():
            entries: Any = self._redis.zrevrangebyscore(
                f"{self._prefix}styles:{owner}", top, "-inf", 0, limit + 1, withscores=True
            )
        following = f"{entries[limit - 1][1]:.0f}" if len(entries) > limit else None
        return readable(Style, self._read([style_id for style_id, _ in entries[:limit]]), known=True), following

    def deleted_since(self, number: int) -> tuple[set[Sha256], int]:
        """Return the pictures of the styles deleted since the deletion with a number, and the number of the last."""
        with redis_errors():
            entries: Any = self._redis.zrangebyscore(f"{self._prefix}deleted", f"({number}", "+inf", withscores=True)
        return {sha256 for sha256, _ in entries}, int(entries[-1][1]) if entries else number

    def _read(self, ids: list[str]) -> list[str]:
        with redis_errors():
            batch = self._redis.pipeline(transaction=False)
            for style_id in ids:
                batch.hget(f"{self._prefix}style:{style_id}", "text")
            return [text for text in batch.execute() if text]

    def _run(self, *args: str | int) -> Any:
        with redis_errors():
            return self._script(keys=[self._prefix], args=["", *args])
