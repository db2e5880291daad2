"""Which server speaks the protocol of Redis, and whether its scripting is mended.

CVE-2025-49844: whoever may run a script can run code on the server's host.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis

from workers.contract.runtime.redis import redis_errors

Release = tuple[int, int, int]
FIRST_PATCHED: dict[str, tuple[Release, ...]] = {
    "Redis": ((7, 2, 11), (7, 4, 6), (8, 0, 6), (8, 2, 2)),
    "Valkey": ((7, 2, 11), (8, 0, 6), (8, 1, 4)),
}
"""The first patched release of each line, oldest first; a line between them has none, every later line is patched."""


@dataclass(frozen=True)
class RedisVersion:
    """The name and version of a server, such as Valkey 8.1.8, and its program, where it tells."""

    name: Literal["Redis", "Valkey"]
    version: str
    program: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def patched(self) -> bool:
        """Return whether this release has the patch; a version that cannot be read has not."""
        *older, newest = FIRST_PATCHED[self.name]
        release = parse_release(self.version)
        if release[:2] >= newest[:2]:
            return release >= newest
        return any(release[:2] == first[:2] and release >= first for first in older)

    @property
    def advice(self) -> str:
        """What to do about a release without the patch."""
        releases = ", ".join(".".join(map(str, first)) for first in FIRST_PATCHED[self.name])
        return (
            f"update it to {releases} or later of the same line, or to a newer line; "
            "a distribution's package may have the patch under an older number"
        )


def read_version(redis: Redis) -> RedisVersion:
    """Ask a server for its name and version. Raises StoreUnavailable."""
    with redis_errors():
        server: dict[str, Any] = redis.info("server")
    # Valkey gives as redis_version the last Redis that it is compatible with.
    if "valkey_version" in server:
        return RedisVersion("Valkey", str(server["valkey_version"]), str(server.get("executable", "")))
    return RedisVersion("Redis", str(server.get("redis_version", "")), str(server.get("executable", "")))


def parse_release(version: str) -> Release:
    """Return the three numbers of a version; 0 for those that it lacks."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major, minor, patch
