"""One stack per data folder: a lock that ends with the process which holds it, and a note of who that is."""

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

NOTE = "up.json"
WAIT_SECONDS = 5.0
"""How long a lock is asked for again whose holder has just ended, or has not written its note yet."""
PAUSE_SECONDS = 0.05


class CannotLock(Exception):
    """The folder cannot be held, mostly because another stack does; the text is one line that says which."""


class Holder(BaseModel):
    """The stack that holds a folder: who it is, where it is reached, and what it works with."""

    model_config = ConfigDict(frozen=True)

    pid: int
    port: int
    redis_url: str
    url: str = ""
    blob_url: str = ""
    model_dir: str = ""
    models: str = ""
    version: str = ""


class FolderLock:
    """Holds a folder while the block runs. The kernel drops the lock with the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1

    def write(self, holder: Holder) -> None:
        """Note who holds the folder, for those who ask in vain and for the commands beside the stack."""
        self._replace(json.dumps(holder.model_dump()))

    def __enter__(self) -> Self:
        """Take the lock. Raises CannotLock."""
        try:
            self._file = os.open(self._folder / NOTE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._acquire()
        except OSError as fault:
            raise CannotLock(f"cannot lock {self._folder}: {fault.strerror}; choose another with --data-dir") from fault
        self._replace("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replace("")
        os.close(self._file)

    def _acquire(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = find_running(self._folder)
            if holder:
                where = f"{self._folder} is in use by pid {holder.pid} on port {holder.port}"
                raise CannotLock(f"{where}; stop that one, or choose another with --data-dir")
            if time.monotonic() > deadline:
                raise CannotLock(f"{self._folder} is in use; choose another with --data-dir")
            time.sleep(PAUSE_SECONDS)

    def _replace(self, text: str) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)


def read_holder(folder: Path) -> Holder | None:
    """Return the stack that holds a folder, or held it when it was killed; None when nothing readable is noted."""
    try:
        return Holder.model_validate(json.loads((folder / NOTE).read_bytes()))
    except (OSError, ValueError):
        return None


def find_running(folder: Path) -> Holder | None:
    """Return the stack that holds a folder now; a note whose writer has ended is none, whoever has its pid today."""
    holder = read_holder(folder)
    return holder if holder and _is_running(holder.pid) and _is_locked(folder / NOTE) else None


def unix_url(socket: Path) -> str:
    """Return the address of a socket, whatever characters its path has."""
    return f"unix://{quote(os.fsencode(socket))}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_locked(note: Path) -> bool:
    try:
        with note.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
