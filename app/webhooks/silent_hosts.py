"""Hosts that did not answer in time are left alone for a while: each call to them takes a place for seconds."""

import time
from urllib.parse import urlsplit

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 120.0
MOST = 1000


class SilentHosts:
    """Which hosts to leave alone, and until when."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._pauses: dict[str, float] = {}

    def is_resting(self, url: str) -> bool:
        """Return whether a host is left alone now."""
        return self._until.get(_host(url), 0.0) > time.monotonic()

    def note_silence(self, url: str) -> None:
        """Leave a host alone, longer each time."""
        if len(self._pauses) >= MOST:
            self._pauses.clear()
            self._until.clear()
        host = _host(url)
        pause = self._pauses[host] = min(LONGEST_SECONDS, 2 * self._pauses.get(host, FIRST_SECONDS / 2))
        self._until[host] = time.monotonic() + pause

    def note_answer(self, url: str) -> None:
        """Forget what was held against a host."""
        self._until.pop(_host(url), None)
        self._pauses.pop(_host(url), None)


def _host(url: str) -> str:
    return urlsplit(url).netloc.lower()
