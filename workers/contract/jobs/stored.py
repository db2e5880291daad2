"""Records across releases: strict at the door, tolerant from the store.

Releases n and n+1 run together. A newer one may add fields: they are left aside. What an older one must not take for
less than it is carries a higher `version`; a job of such a version waits for a worker that knows it.
"""

import logging
from collections.abc import Iterable
from typing import TypeVar

from pydantic import Field

from workers.contract.errors import UnreadableRecord
from workers.contract.jobs.models import Frozen

log = logging.getLogger(__name__)

RECORD_VERSION = 2
"""The newest version of records that this release knows, and writes."""

Record = TypeVar("Record", bound=Frozen)


class Versioned(Frozen):
    """A record with its version, which is written only where it is not the first."""

    version: int = Field(1, ge=1, exclude_if=lambda version: version == 1)


def read_stored(kind: type[Record], text: str) -> Record:
    """Return a record, without the fields that this release does not know. Raises UnreadableRecord."""
    try:
        return kind.model_validate_json(text, extra="ignore")
    except ValueError as fault:  # never its text: it holds what was stored
        raise UnreadableRecord(f"a stored {kind.__name__} cannot be read by this release") from fault


def read_known(kind: type[Record], text: str) -> Record:
    """Return a record as `read_stored`, but none whose version is newer than what this release knows."""
    found = read_stored(kind, text)
    version = getattr(found, "version", 1)
    if version > RECORD_VERSION:
        raise UnreadableRecord(f"a stored {kind.__name__} has version {version}; this release knows {RECORD_VERSION}")
    return found


def readable(kind: type[Record], texts: Iterable[str], *, known: bool = False) -> list[Record]:
    """Return those of some records that can be read; the log tells of the others."""
    found = []
    for text in texts:
        try:
            found.append(read_known(kind, text) if known else read_stored(kind, text))
        except UnreadableRecord as fault:
            log.warning("left out: %s", fault)
    return found
