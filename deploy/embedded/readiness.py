"""Where the stack is reached from this machine, and whether it takes work yet."""

import time
from ipaddress import ip_address

import httpx2

LOOK_SECONDS = 0.5
ANSWER_SECONDS = 1.0


class ReadyLine:
    """Says once, when the service takes work, which address to open: the last line of a start."""

    def __init__(self, url: str, models: str) -> None:
        self.url = url
        self._models = models
        self._due = 0.0

    def look(self) -> None:
        """Ask the gateway at most every LOOK_SECONDS, until it is ready and the line is printed."""
        if time.monotonic() < self._due:
            return
        ready = is_ready(self.url)
        self._due = float("inf") if ready else time.monotonic() + LOOK_SECONDS
        if ready:
            print(f"stylize: ready with {self._models}: open {self.url}", flush=True)


def is_ready(url: str) -> bool:
    """Return whether a service says that it takes work."""
    try:
        answer = httpx2.get(f"{url}/readyz", timeout=ANSWER_SECONDS, trust_env=False)
    except httpx2.TransportError:
        return False
    return answer.status_code == httpx2.codes.OK


def local_url(host: str, port: int) -> str:
    """Return the address of a listening host and port as this machine reaches it."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"
