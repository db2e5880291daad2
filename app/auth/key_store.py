"""Where keys are kept: in the Redis of the jobs, which loses nothing. Revoked keys stay, as a record."""

import json
import logging
from datetime import UTC, datetime
from itertools import starmap
from typing import Any

from redis import Redis

from app.auth.api_key import ApiKey, unreadable
from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.stored import read_known
from workers.contract.runtime.redis import redis_errors

log = logging.getLogger(__name__)


class KeyStore:
    """All keys, by id. Synchronous and thread-safe; raises StoreUnavailable when Redis does not answer."""

    def __init__(self, redis: Redis, *, prefix: str = "stylize:") -> None:
        self._redis = redis
        self._name = f"{prefix}keys"

    def put(self, key: ApiKey) -> None:
        """Keep a key."""
        with redis_errors():
            self._redis.hset(self._name, key.id, key.model_dump_json())

    def all(self) -> dict[str, ApiKey]:
        """Return every key, the oldest first: revoked ones too, and those that cannot be read, which open nothing."""
        with redis_errors():
            texts = self._redis.hgetall(self._name)
        keys = sorted(starmap(_key_of, texts.items()), key=lambda key: key.created_at)
        return {key.id: key for key in keys}

    def find(self, name: str) -> list[ApiKey]:
        """Return the key with this id, or else those of this name: the ones not revoked if there are any."""
        keys = self.all()
        named = [key for key in keys.values() if key.name == name]
        return [keys[name]] if name in keys else [key for key in named if key.revoked_at is None] or named

    def revoke(self, key_id: str) -> ApiKey | None:
        """Make a key useless for good; nothing happens to one that is. Returns it, None when there is no such key.

        What another release wrote into the record stays in it: its gateways may read what this one cannot.
        """
        with redis_errors():
            text = self._redis.hget(self._name, key_id)
            if text is None:
                return None
            fields = _fields_of(str(text))
            if fields is not None and not fields.get("revoked_at"):
                revoked = fields | {"revoked_at": datetime.now(UTC).isoformat()}
                self._redis.hset(self._name, key_id, json.dumps(revoked))
        return self.all().get(key_id)


def _fields_of(text: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(text)
    except ValueError:
        return None  # no release can read that, so it opens nothing
    return fields if isinstance(fields, dict) else None


def _key_of(key_id: str, text: str) -> ApiKey:
    try:
        return read_known(ApiKey, text)
    except UnreadableRecord as fault:
        log.warning("key %s opens nothing: %s", key_id, fault)
        return unreadable(key_id)
