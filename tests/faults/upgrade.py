"""`python -m tests.faults.upgrade --old PATH`: this release beside another, either way round, then a roll under load.

PATH is a checkout of the other release; its processes run there with `--python`, an interpreter that has what it needs.
Three parts, each with its own jobs: the new gateway and sweeper with old workers; the old gateway and sweeper with new
workers; a roll from old to new in the order of the runbook while callers go on. Nothing may be lost or published twice,
and no answer may be a 5xx but 503 with what to do. The printed seed gives all choices.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from deploy.embedded.processes import ChildProcess
from tests.faults.harness.callers import Callers, asks
from tests.faults.harness.checker import violations
from tests.faults.harness.history import History
from tests.faults.harness.receiver import Receiver
from tests.faults.harness.stack import Stack
from tests.faults.soak import SETTINGS, gather
from tests.support.service import until

WORKERS = 3
PATIENCE = 120.0
PARTS = ("old workers", "new workers", "roll")


class MixedStack(Stack):
    """A stack whose processes are of two releases: of the old one those whose names begin with one in `old`."""

    def __init__(self, folder: Path, tree: Path, python: str, old: tuple[str, ...], environ: dict[str, str]) -> None:
        self._tree = tree
        self._python = python
        super().__init__(folder, workers=WORKERS, environ=environ)
        for child in self.children:
            if child.name.startswith(old):
                self.replace(child, self.of_old(child))

    def of_old(self, child: ChildProcess) -> ChildProcess:
        """Return the same process of the old release."""
        _, *words = child.command
        environ = {**child.environ, "PYTHONPATH": str(self._tree)}
        return ChildProcess(child.name, ("env", "-C", str(self._tree), self._python, *words), environ)

    def of_new(self, child: ChildProcess) -> ChildProcess:
        """Return the same process of this release."""
        environ = {**child.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        words = child.command[child.command.index("-m") :]
        return ChildProcess(child.name, (sys.executable, *words), environ)

    def listens(self, child: ChildProcess) -> bool:
        """Return whether a worker runs: one of another release does not mark that it listens."""
        return child.process is not None

    def replace(self, child: ChildProcess, by: ChildProcess) -> None:
        """Put a process in another's place; it is not started."""
        if child is self.gateway:
            self.gateway = by
        elif child is self.sweeper:
            self.sweeper = by
        else:
            self.workers[self.workers.index(child)] = by

    def upgrade(self, child: ChildProcess, history: History) -> None:
        """Stop a process as an operator does, and start the new release's in its place."""
        with self.tending:
            assert child.process is not None
            history.fault("term", child.process.pid)
            child.process.send_signal(signal.SIGTERM)
            child.process.wait(60)
            self.replace(child, new := self.of_new(child))
            new.start()


def run(part: str, tree: Path, python: str, jobs: int, seed: int) -> bool:
    """Run one part; print its figures and return whether all is well."""
    old = {"old workers": ("worker",), "new workers": ("gateway", "sweeper"), "roll": ("gateway", "sweeper", "worker")}
    began, history = time.monotonic(), History()
    with tempfile.TemporaryDirectory(prefix="stylize-faults-") as folder, Receiver() as receiver:
        running = MixedStack(Path(folder), tree, python, old[part], SETTINGS | receiver.environ)
        try:
            running.start()
            wanted = asks(random.Random(seed), jobs)
            callers = Callers(str(running.client.base_url), history, wanted, 6, PATIENCE, webhook_url=receiver.url)
            callers.start()
            if part == "roll":
                roll(running, history, lambda: history.finished, jobs)
            callers.join()
            receiver.await_calls({job_id for ids in history.acknowledged.values() for job_id in ids})
            evidence = replace(gather(running, history), calls=list(receiver.calls))
        finally:
            running.close()
    found = violations(evidence)
    extra = sum(max(0, job.attempts - 1) for job in evidence.records.values())
    print(
        f"{part}: {len(history.acknowledged)} jobs accepted, {len(evidence.records)} records, {len(found)} violations, "
        f"{len(history.faults)} processes replaced, {extra} extra attempts, {history.refused} requests sent again, "
        f"{time.monotonic() - began:.0f} s",
        *found[:10],
        sep="\n",
        flush=True,
    )
    return not found and len(history.acknowledged) == jobs


def roll(running: MixedStack, history: History, done: Callable[[], int], jobs: int) -> None:
    """Replace the processes one after another, spread over the first half of the jobs: workers, sweeper, gateway."""
    children = [*running.workers, running.sweeper, running.gateway]
    for number, child in enumerate(children, 1):
        share = jobs * number // (2 * len(children))
        until(lambda share=share: done() >= share, "jobs go on", patience=PATIENCE)
        running.upgrade(child, history)
        running.await_workers()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.upgrade", description=__doc__)
    parser.add_argument("--old", type=Path, required=True, help="a checkout of the other release")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the other release")
    parser.add_argument("--jobs", type=int, default=200, help="jobs of each part")
    parser.add_argument("--part", choices=PARTS, action="append", help="only these parts")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    tree = options.old.resolve()
    parts = [run(part, tree, options.python, options.jobs, options.seed) for part in options.part or PARTS]
    return 0 if all(parts) else 1


if __name__ == "__main__":
    sys.exit(main())
