"""Faults, drawn by a seed and spread over the progress of the callers."""

import random
import signal
import threading
import time
from collections.abc import Callable, Mapping

from deploy.embedded.processes import ChildProcess
from tests.faults.harness.callers import Callers
from tests.faults.harness.history import History
from tests.faults.harness.stack import LEASE, Stack

STALL_SECONDS = 1.5 * LEASE
LEFT = 0.1


class Injector:
    """`plan` says how often each kind of fault happens: kill, term, redis, freeze, cut, truncate, stall."""

    def __init__(self, stack: Stack, history: History, plan: Mapping[str, int], rng: random.Random) -> None:
        self._stack = stack
        self._history = history
        self._rng = rng
        self._kinds = [kind for kind, times in plan.items() for _ in range(times)]
        rng.shuffle(self._kinds)
        self._later: list[threading.Timer] = []
        self._acts: dict[str, Callable[[], int | None]] = {
            "kill": self._kill,
            "term": self._term,
            "redis": self._kill_redis,
            "freeze": self._freeze,
            "cut": self._cut,
            "truncate": self._truncate,
            "stall": self._stall,
        }

    def run(self, callers: Callers, jobs: int) -> None:
        """Inject fault k once the callers have finished their share of the jobs, until all faults are spent.

        A part of the jobs is left for the last fault to hit: nothing says how long an injection takes.
        """
        share = (1 - LEFT) * jobs / len(self._kinds)
        for number, kind in enumerate(self._kinds, start=1):
            due = (number - 1 + self._rng.random()) * share
            while callers.busy and self._history.finished < due:
                time.sleep(0.02)
            if not callers.busy:
                break
            time.sleep(self._rng.uniform(0, 0.3))
            self._history.fault(kind, self._acts[kind]())

    def settle(self) -> None:
        """Undo what is still to be undone, now."""
        for timer in self._later:
            timer.join()

    def _kill(self) -> int | None:
        return self._signal(signal.SIGKILL)

    def _term(self) -> int | None:
        return self._signal(signal.SIGTERM)

    def _freeze(self) -> int | None:
        child = self._some_worker()
        process = child.process if child else None
        if process is None:
            return None
        process.send_signal(signal.SIGSTOP)
        self._in(2 * LEASE, lambda: process.send_signal(signal.SIGCONT))
        return process.pid

    def _kill_redis(self) -> None:
        self._stack.redis.kill()
        time.sleep(self._rng.uniform(0.05, 0.6))
        self._stack.redis.start()
        self._history.redis_back.append(time.monotonic())

    def _cut(self) -> None:
        self._rng.choice(self._stack.proxies).cut()

    def _truncate(self) -> None:
        self._rng.choice(self._stack.proxies).truncate(self._rng.randint(1, 3))

    def _stall(self) -> None:
        proxy = self._rng.choice(self._stack.proxies)
        proxy.stall()
        self._in(STALL_SECONDS, proxy.flow)

    def _signal(self, signum: int) -> int | None:
        child = self._some_worker()
        process = child.process if child else None  # the supervisor may take it away at any moment
        if process is None:
            return None
        process.send_signal(signum)
        return process.pid

    def _some_worker(self) -> ChildProcess | None:
        running = [child for child in self._stack.workers if child.process and child.process.poll() is None]
        return self._rng.choice(running) if running else None

    def _in(self, seconds: float, act: Callable[[], object]) -> None:
        timer = threading.Timer(seconds, act)
        timer.start()
        self._later.append(timer)
