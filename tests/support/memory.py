"""The memory of this process."""

from pathlib import Path
from typing import Literal


def resident(name: Literal["VmRSS", "VmHWM"]) -> int:
    """Return the bytes that are in memory (VmRSS), or were at most since the program began (VmHWM).

    `getrusage` would count for its peak what the parent had before the program began.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024
