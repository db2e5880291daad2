"""An API key: 256 random bits that only the caller has, and what we keep of them."""

import hashlib
import secrets
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Literal, NamedTuple, get_args

from limits import parse
from pydantic import Field, field_validator

from workers.contract.blobs.names import Sha256
from workers.contract.jobs.stored import Versioned

Scope = Literal["read", "write"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MARK = "stylize"
SECRET_BYTES = 32


class ApiKey(Versioned):
    """What is kept of a key: everything but its secret. Its id owns the jobs that are made with it."""

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    name: str = Field(min_length=1, max_length=100)
    digest: Sha256
    scopes: tuple[Scope, ...] = SCOPES
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rate: str | None = None
    in_flight: int | None = Field(None, ge=1)

    @field_validator("rate")
    @classmethod
    def _readable(cls, rate: str | None) -> str | None:
        if rate is not None:
            parse(rate)
        return rate

    def valid_at(self, moment: datetime) -> bool:
        """Return whether the key opens anything at a moment."""
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)


class Token(NamedTuple):
    """What the caller sends: the key's id and its secret."""

    key_id: str
    secret: str

    def __str__(self) -> str:
        return f"{MARK}_{self.key_id}_{self.secret}"

    @classmethod
    def read(cls, text: str) -> "Token":
        """Return the token written in a text; one that fits no key when there is none."""
        mark, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        return cls(key_id, secret) if mark == MARK else cls("", "")


class Minted(NamedTuple):
    """A new key, and the token that is shown once."""

    key: ApiKey
    token: Token


def create_api_key(
    name: str,
    *,
    scopes: tuple[Scope, ...] = SCOPES,
    expires_at: datetime | None = None,
    rate: str | None = None,
    in_flight: int | None = None,
) -> Minted:
    """Return a new key. Raises pydantic's ValidationError for what cannot be kept."""
    token = Token(secrets.token_hex(8), secrets.token_urlsafe(SECRET_BYTES))
    key = ApiKey(
        id=token.key_id,
        name=name,
        digest=digest_of(token.secret),
        scopes=scopes,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        rate=rate,
        in_flight=in_flight,
    )
    return Minted(key, token)


def digest_of(secret: str) -> str:
    """Return the sha256 of a secret: a fast hash is right for what nobody can guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


DUMMY_KEY = ApiKey(
    id="0" * 16,
    name="nobody",
    digest=secrets.token_hex(32),
    created_at=datetime(2000, 1, 1, tzinfo=UTC),
)
"""Stands for an unknown key, so that as much work is done for it; no secret has its digest."""


def unreadable(key_id: str) -> ApiKey:
    """Return what stands for a key that this release cannot read: it is there, and opens nothing."""
    return DUMMY_KEY.model_copy(
        update={"id": key_id, "name": "unreadable: of another release, or damaged", "scopes": ()}
    )


def verify(key: ApiKey, secret: str, moment: datetime) -> bool:
    """Return whether a secret is the key's and the key still valid; takes as long whichever it is."""
    return compare_digest(digest_of(secret), key.digest) & key.valid_at(moment)
