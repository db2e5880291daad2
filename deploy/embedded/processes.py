"""Child processes of the embedded stack: started together, restarted when they end, ended together."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends; for use between fork and exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class ChildProcess:
    """One supervised process: `command` runs again, with growing pauses, whenever it ends."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restarts: int = 0
    due_at: float = field(default=0.0)

    def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches only the supervisor."""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command, env={**os.environ, **self.environ}, start_new_session=True, preexec_fn=die_with_parent
        )

    def tend(self) -> int | None:
        """Start or restart the process when due. Returns the exit status if it has just been found ended."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due_at:
                self.start()
            return None
        status = self.process.poll()
        if status is not None:
            self.process = None
            self.restarts = 0 if now - self.started_at > 30 else self.restarts + 1
            self.due_at = now + min(0.2 * 2**self.restarts, 10.0)
        return status

    def ask_to_end(self) -> None:
        """Send SIGTERM if it runs."""
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def await_end(self, deadline: float) -> None:
        """Wait until it has ended; SIGKILL at the deadline (monotonic seconds)."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
