"""Where keys are kept: in the Redis of the jobs, which loses nothing. Revoked keys stay, as a record."""

from datetime import UTC, datetime

from redis import Redis

from app.keys.key import ApiKey
from workers.contract.redis_server import answering


class KeyStore:
    """All keys, by id. Synchronous and thread-safe; raises StoreUnavailable when Redis does not answer."""

    def __init__(self, redis: Redis, *, prefix: str = "stylize:") -> None:
        self._redis = redis
        self._name = f"{prefix}keys"

    def put(self, key: ApiKey) -> None:
        """Keep a key."""
        with answering():
            self._redis.hset(self._name, key.id, key.model_dump_json())

    def all(self) -> dict[str, ApiKey]:
        """Return every key, revoked ones included, the oldest first."""
        with answering():
            texts = self._redis.hgetall(self._name)
        keys = sorted((ApiKey.model_validate_json(text) for text in texts.values()), key=lambda key: key.created_at)
        return {key.id: key for key in keys}

    def find(self, name: str) -> list[ApiKey]:
        """Return the key with this id, or else those of this name: the ones not revoked if there are any."""
        keys = self.all()
        named = [key for key in keys.values() if key.name == name]
        return [keys[name]] if name in keys else [key for key in named if key.revoked_at is None] or named

    def revoke(self, key_id: str) -> ApiKey | None:
        """Make a key useless for good; nothing happens to one that is. Returns it, None when there is no such key."""
        key = self.all().get(key_id)
        if key is None or key.revoked_at is not None:
            return key
        revoked = key.model_copy(update={"revoked_at": datetime.now(UTC)})
        self.put(revoked)
        return revoked
