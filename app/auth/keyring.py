"""Who calls? The keys as the gateway knows them: a copy, never older than what revocation promises."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.auth.allowance import Allowance
from app.auth.api_key import DUMMY_KEY, SCOPES, ApiKey, Scope, Token, verify
from app.auth.key_store import KeyStore
from app.errors import Forbidden, Unauthorized
from workers.contract.errors import StoreUnavailable

ANYONE = "anyone"
"""The owner of all jobs while no keys are configured."""
FRESH_SECONDS = 2.0
REFUSAL_SECONDS = 0.1
"""A refusal waits so long, then the keys are read again, once for all who wait: the key may just have been made."""
STALE_SECONDS = 8.0
"""A copy older than this opens nothing: a key revoked elsewhere must not live on while Redis is away."""
SCHEME = "bearer"
NEEDED = "a valid API key is needed: Authorization: Bearer stylize_..."


@dataclass(frozen=True)
class Caller:
    """Who calls and what that may do; `rate` and `in_flight` are None when not limited, `name` is the key's.

    `allowance` is filled when requests of the caller are counted.
    """

    owner: str = ANYONE
    scopes: tuple[Scope, ...] = SCOPES
    rate: str | None = None
    in_flight: int | None = None
    name: str | None = None
    allowance: Allowance = field(default_factory=Allowance, compare=False)


class KeyRing:
    """Tells callers apart by their keys. Without any key everybody is ANYONE, unless `always` a key is needed.

    `refresh` talks to Redis: call it in a thread when `due`.
    """

    def __init__(self, store: KeyStore, *, always: bool) -> None:
        self._store = store
        self._always = always
        self._keys: Mapping[str, ApiKey] = {}
        self._read_at = -STALE_SECONDS
        self._reading = threading.Lock()

    @property
    def due(self) -> bool:
        """Whether the copy should be refreshed."""
        return self._read_at <= time.monotonic() - FRESH_SECONDS

    def refresh(self, since: float | None = None) -> None:
        """Read the keys again unless they were read after a moment (monotonic), by default FRESH_SECONDS ago.

        Raises StoreUnavailable once the copy is too old to be trusted.
        """
        with self._reading:
            began = time.monotonic()
            if self._read_at > (began - FRESH_SECONDS if since is None else since):
                return
            try:
                self._keys = self._store.all()
            except StoreUnavailable:
                if time.monotonic() - self._read_at >= STALE_SECONDS:
                    raise
                return
            self._read_at = began

    def caller(self, authorization: str | None) -> Caller:
        """Return who sent an `Authorization` header. Raises Unauthorized: never saying what was wrong with it."""
        if not self._keys and not self._always:
            return Caller()
        scheme, _, text = (authorization or "").partition(" ")
        token = Token.read(text.strip()) if scheme.lower() == SCHEME else Token("", "")
        key = self._keys.get(token.key_id, DUMMY_KEY)
        if not verify(key, token.secret, datetime.now(UTC)):
            raise Unauthorized(NEEDED)
        return Caller(key.id, key.scopes, key.rate, key.in_flight, key.name)

    def check(self, owner: str, scope: Scope) -> None:
        """Raise Unauthorized when the key of an owner opens nothing any more, Forbidden when it lost the scope."""
        if owner == ANYONE and not self._keys and not self._always:
            return
        key = self._keys.get(owner)
        if key is None or not key.valid_at(datetime.now(UTC)):
            raise Unauthorized(NEEDED)
        if scope not in key.scopes:
            raise Forbidden(f"this key lacks the scope {scope}")

    def in_flight(self, owner: str) -> int | None:
        """Return how many unfinished jobs an owner may have; None when not limited."""
        key = self._keys.get(owner)
        return key.in_flight if key else None
