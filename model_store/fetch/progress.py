"""What people see while files are fetched: a bar per file with rate and remaining time."""

from threading import Lock
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Watcher(Protocol):
    """Is told how fetching goes, from several threads."""

    def begin(self, name: str, size: int, done: int) -> None:
        """A file of `size` bytes is fetched; `done` bytes were there from an earlier try."""
        ...

    def reached(self, name: str, done: int) -> None:
        """The file has `done` bytes now; fewer than before when it starts again."""
        ...

    def converting(self, name: str) -> None:
        """The fetched file is being converted, which may take minutes."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, name: str, size: int, done: int) -> None:
        """Ignore it."""

    def reached(self, name: str, done: int) -> None:
        """Ignore it."""

    def converting(self, name: str) -> None:
        """Ignore it."""


class Bars:
    """Bars on a terminal; on anything else a plain list of what is fetched."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = Lock()
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, name: str, size: int, done: int) -> None:
        """Add the bar of a file."""
        with self._lock:
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=size)
            if not self._console.is_terminal:
                self._console.print(f"{name}  {size / 1e6:.1f} MB" + (f", resumed at {done / 1e6:.1f}" if done else ""))
        self._progress.update(self._tasks[name], total=size, completed=done)

    def reached(self, name: str, done: int) -> None:
        """Move the bar of a file."""
        self._progress.update(self._tasks[name], completed=done)

    def converting(self, name: str) -> None:
        """Say it."""
        self._console.print(f"{name}  converting to safetensors", highlight=False)
