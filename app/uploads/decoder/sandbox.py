"""What the decoder's processes give up before they touch a picture. Linux."""

import ctypes
import os
import resource
import signal
import tempfile

CHILD_MEMORY = 1 << 30
CHILD_CPU_SECONDS = 5
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38


def isolate() -> bool:
    """Leave network, files and privileges behind as far as the kernel allows; the children inherit it.

    Returns whether the network is gone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_DUMPABLE, 0)  # no process of ours may be traced by a captured child
    own_network = any(libc.unshare(flags) == 0 for flags in (CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC, CLONE_NEWNET))
    _leave_files()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return own_network


def _leave_files() -> None:
    """Make a deleted, empty folder the root of all paths; where that is forbidden, children open no file anyway."""
    try:
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)
        os.chroot(".")
    except OSError:
        os.chdir("/")


def confine(result: int, *, max_output: int) -> int:
    """Limit this process to one file, little memory and little time. Returns the file's new descriptor."""
    os.dup2(result, 0)
    os.closerange(1, 65536)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for limit, value in (
        (resource.RLIMIT_NOFILE, 1),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, max_output),
        (resource.RLIMIT_AS, CHILD_MEMORY),
        (resource.RLIMIT_CPU, CHILD_CPU_SECONDS),
    ):
        resource.setrlimit(limit, (value, value))
    return 0
