"""Trouble on demand: a prompt such as `a house kill@step3*1` asks for what is to go wrong, where, and how often.

Points: claimed, step<n>, stored (blobs written, nothing committed), committed; in the gateway kept (pictures stored)
and recorded (not yet rung). Only the programs of this folder look for it; a file per occurrence makes the count hold
across processes.
"""

import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from workers.engine.errors import DeviceLost, OutOfMemory

WISH = re.compile(r"(\w+)@(\w+)\*(\d+)")
HOUR = 3600.0


class Troubles:
    """Does what prompts ask for; `folder` remembers what was done."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._acts: dict[str, Callable[[], object]] = {
            "kill": kill,
            "freeze": freeze,
            "hang": threading.Event().wait,
            "oom": out_of_memory,
            "sticky": lose_device,
            "forward": lambda: jump(HOUR),
            "back": lambda: jump(-HOUR),
        }

    def at(self, point: str, prompt: str) -> None:
        """Do what the prompt asks for at this point."""
        for name, where, times in WISH.findall(prompt):
            if where == point and self._take(f"{prompt}|{name}|{where}", int(times)):
                self._acts[name]()

    def _take(self, wish: str, times: int) -> bool:
        stem = hashlib.sha256(wish.encode()).hexdigest()[:24]
        for n in range(times):
            try:
                (self._folder / f"{stem}-{n}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False


def kill() -> None:
    """End this process as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


def freeze() -> None:
    """Stop this process until SIGCONT; another thread may get the signal, so wait until it has."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.2)


def out_of_memory() -> None:
    """Fail as the engine does when one picture alone does not fit."""
    raise OutOfMemory("one picture does not fit")


def lose_device() -> None:
    """Fail as the engine does when the device will not work again in this process."""
    raise DeviceLost("CUDA error: an illegal memory access was encountered")


def jump(seconds: float) -> None:
    """Move the wall clock of this process."""
    real = time.time
    time.time = lambda: real() + seconds
