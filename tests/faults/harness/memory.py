"""What processes keep in memory over time, and how fast that grows."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOUR = 3600.0
KILOBYTE = 1024


def own(pid: int) -> int:
    """Return the bytes that a process has written to, in memory or swapped out: what it would keep if it leaked."""
    figures = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return sum(int(figures[name].split()[0]) for name in ("Anonymous", "Swap")) * KILOBYTE


def first_child(pid: int) -> int | None:
    """Return the pid of the oldest child process, whichever thread started it."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return min((int(child) for thread in threads for child in thread.read_text().split()), default=None)


@dataclass
class Growth:
    """The memory of named processes, sampled; `replaced` names those that did not live to the end."""

    pids: Callable[[], Mapping[str, int | None]]
    began: float = field(default_factory=time.monotonic)
    samples: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._born = {name: pid for name, pid in self.pids().items() if pid}
        self.samples = {name: [] for name in self._born}

    def sample(self) -> None:
        """Look once at every process."""
        now = time.monotonic() - self.began
        pids = self.pids()
        for name, pid in self._born.items():
            try:
                if pids.get(name) == pid:
                    self.samples[name].append((now, own(pid)))
                else:
                    self.replaced.add(name)
            except OSError:
                self.replaced.add(name)

    def slope(self, name: str, warm_up: float) -> float:
        """Return the growth after so many seconds, in parts of what was kept then per hour (0.01: 1 %/h)."""
        settled = [(at - warm_up, size) for at, size in self.samples[name] if at >= warm_up]
        slope, start = statistics.linear_regression(*zip(*settled, strict=True))
        return slope / start * HOUR

    def text(self, name: str, warm_up: float) -> str:
        """Return first, middle and last size after the warm-up, and the slope, in a line."""
        sizes = [size for at, size in self.samples[name] if at >= warm_up]
        marks = ", ".join(f"{sizes[round(part * (len(sizes) - 1))] / 1e6:.2f}" for part in (0, 0.25, 0.5, 0.75, 1))
        return f"{name}: {marks} MB; {self.slope(name, warm_up):+.2%} per hour"
