"""What the converting child takes from itself before it opens a file it does not trust. Linux only."""

import ctypes
import os
import resource
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_REFUSED = ("socket.", "subprocess.", "pty.", "ctypes.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.kill")


def leave_network() -> bool:
    """Move into an empty network namespace; return whether the kernel allowed it. Needs a single thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return 0 in (libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET), libc.unshare(_CLONE_NEWNET))


def limit(*, memory_bytes: int, output_bytes: int, cpu_seconds: int) -> None:
    """Bound what may be allocated beyond what is mapped already, the size of written files, and CPU time."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for which, most in (
        (resource.RLIMIT_AS, mapped + memory_bytes),
        (resource.RLIMIT_FSIZE, output_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(which, (most, most))


def refuse_actions() -> None:
    """End this process at once when Python code in it starts a process, opens a socket or loads a library."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(_REFUSED):
            os.write(2, f"refused: the file tried {event}\n".encode())
            os._exit(77)

    sys.addaudithook(hook)
