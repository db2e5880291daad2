"""Callers: each posts a job until it is accepted, watches it to its end, and takes the next."""

import queue
import random
import threading
import time
from typing import Any

import httpx2

from tests.faults.harness.history import Ask, History, Seen
from tests.support.service import FINAL, style_file

PAUSE = 0.1


def asks(rng: random.Random, count: int) -> list[Ask]:
    """Return what callers will want; a few of them change their minds."""
    return [
        Ask(f"key-{n}", f"subject {n}", rng.randrange(1 << 31), rng.randint(6, 14), cancel=rng.random() < 0.03)
        for n in range(count)
    ]


class Callers:
    """A few threads that get all jobs done; one not done after `patience` seconds counts as lost."""

    def __init__(
        self,
        url: str,
        history: History,
        wanted: list[Ask],
        threads: int,
        patience: float,
        webhook_url: str | None = None,
    ) -> None:
        self._url = url
        self._more = {"webhook_url": webhook_url} if webhook_url else {}
        self._history = history
        self._patience = patience
        self._left = threading.Event()
        self._wanted: queue.SimpleQueue[Ask] = queue.SimpleQueue()
        for ask in wanted:
            self._wanted.put(ask)
        self._threads = [threading.Thread(target=self._work, name=f"caller-{n}") for n in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> bool:
        """True until every job has ended or was given up."""
        return any(thread.is_alive() for thread in self._threads)

    def leave(self) -> None:
        """Take no further job; those in hand are seen through."""
        self._left.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=60) as client:
            while not self._left.is_set():
                try:
                    ask = self._wanted.get_nowait()
                except queue.Empty:
                    return
                self._see_through(client, ask)
                self._history.finish()

    def _see_through(self, client: httpx2.Client, ask: Ask) -> None:
        ends = time.monotonic() + self._patience
        job_id = self._accepted(client, ask, ends)
        while job_id and time.monotonic() < ends:
            shown = self._ask(client, "GET", f"/jobs/{job_id}?cancel_only=true")
            if shown:
                self._history.observe(job_id, Seen.of(shown))
                if shown["state"] in FINAL:
                    return
                if ask.cancel and shown["state"] == "running" and job_id not in self._history.canceled:
                    self._history.canceled.add(job_id)
                    self._ask(client, "DELETE", f"/jobs/{job_id}?cancel_only=true")
            time.sleep(PAUSE)

    def _accepted(self, client: httpx2.Client, ask: Ask, ends: float) -> str | None:
        form = {"prompt": ask.prompt, "seed": str(ask.seed), "steps": str(ask.steps)}
        data = {"method": "signal-leak", "width": "64", "height": "64", **form, **self._more}
        while time.monotonic() < ends:
            headers = {"Idempotency-Key": ask.key}
            job = self._ask(client, "POST", "/stylize", data=data, files=style_file(), headers=headers)
            if job:
                self._history.acknowledge(ask, job["id"])
                self._history.observe(job["id"], Seen.of(job))
                return str(job["id"])
            time.sleep(2 * PAUSE)
        return None

    def _ask(self, client: httpx2.Client, verb: str, path: str, **more: Any) -> dict[str, Any] | None:
        """Return the answer, None for one that says to try again. Any other refusal is a fault of ours."""
        try:
            answer = client.request(verb, path, **more)
        except httpx2.TransportError:
            self._history.refuse()
            return None
        if answer.is_success:
            return dict(answer.json())
        assert answer.status_code in (409, 429, 503), f"{verb} {path}: {answer.status_code} {answer.text}"
        self._history.refuse()
        return None
