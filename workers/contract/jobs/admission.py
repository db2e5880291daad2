"""Whether jobs and styles are let in: what the deciding scripts are told of pictures, and what their refusals mean."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from workers.contract.blobs.names import Sha256
from workers.contract.errors import (
    IdempotencyConflict,
    InputsDeleted,
    OwnerRevoked,
    QueueFull,
    StorageQuota,
    TooManyActive,
)

BUSY_SECONDS = 5
"""When an owner with too many jobs may try again."""


class Admission(NamedTuple):
    """What is known before a job is decided on: bytes its owner holds, digest of the job with its idempotency key."""

    held_bytes: int
    digest: str | None


@dataclass(frozen=True)
class PutInputs:
    """Input pictures that were put into the blob store to be named now.

    `revived` has the mark of each that was put again because its mark said that it may be deleted; see `InputsDeleted`.
    """

    sizes: Mapping[Sha256, int] = field(default_factory=dict)
    revived: Mapping[Sha256, int] = field(default_factory=dict)
    max_bytes: int | None = None
    """Bytes of pictures that the owner's jobs and styles may name; None for any number."""

    def arguments(self) -> tuple[str | int, str, str]:
        """Return what the scripts take: `max_bytes`, `sizes` and `revived`."""
        return "" if self.max_bytes is None else self.max_bytes, numbered(self.sizes), numbered(self.revived)


NOTHING_PUT = PutInputs()


def numbered(numbers: Mapping[Sha256, int]) -> str:
    """Return numbers by sha256 as `by_sha` of `admission.lua` reads them."""
    return " ".join(f"{sha256} {number}" for sha256, number in numbers.items())


def marks_of(flat: Sequence[str]) -> dict[Sha256, int]:
    """Return the marks that a script answers as sha256, mark, sha256, mark."""
    return {sha256: int(mark) for sha256, mark in zip(flat[::2], flat[1::2], strict=True)}


def quota(most: int) -> StorageQuota:
    """Return the refusal of pictures that are too many bytes with those that their owner holds."""
    return StorageQuota(f"the pictures that your jobs and styles name may have {most:,} bytes together; delete styles")


def raise_refusal(verdict: str, rest: Sequence[str], max_queued: int) -> None:
    """Raise what a script's verdict means; return when it is none of the refusals."""
    match verdict:
        case "conflict":
            raise IdempotencyConflict("the Idempotency-Key was used before with another request")
        case "busy":
            raise TooManyActive(f"this key may have {rest[0]} unfinished jobs", retry_after=BUSY_SECONDS)
        case "revoked":
            raise OwnerRevoked("the key was revoked")
        case "full":
            per_minute = max(1, int(rest[0]))
            raise QueueFull(f"at most {max_queued} jobs may wait", retry_after=math.ceil(60 / per_minute))
        case "stored":
            raise quota(int(rest[0]))
        case "doomed":
            raise InputsDeleted(marks_of(rest[1:]), deleting=bool(int(rest[0])))
