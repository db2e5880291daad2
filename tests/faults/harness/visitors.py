"""Callers who come when they come, however busy the service is; each wants one job and its picture."""

import asyncio
import hashlib
import itertools
import json
import random
import time
from collections import Counter
from io import BytesIO
from typing import Any

import httpx2
from PIL import Image

from tests.support.service import FINAL

POLL = 0.25
PATIENCE = 120.0


def style(rng: random.Random) -> bytes:
    """Return a small PNG that nobody sent before."""
    file = BytesIO()
    Image.frombytes("RGB", (8, 8), rng.randbytes(8 * 8 * 3)).resize((64, 64)).save(file, "PNG")
    return file.getvalue()


class Visitors:
    """Arrivals at random moments, `rate` a second on average; `latencies` run from when each was due, in seconds."""

    def __init__(self, url: str, rng: random.Random, *, rate: float, steps: int) -> None:
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()
        self._url, self._rng, self._rate, self._steps = url, rng, rate, steps
        self._ways = itertools.cycle((self._prefer, self._poll, self._follow))

    async def come(self, seconds: float) -> None:
        """Let visitors come for so long; return when the last has left."""
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
        async with (
            httpx2.AsyncClient(base_url=self._url, timeout=PATIENCE, limits=limits) as client,
            asyncio.TaskGroup() as visits,
        ):
            due = began = time.monotonic()
            while (due := due + self._rng.expovariate(self._rate)) < began + seconds:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                visits.create_task(self._visit(client, due))

    async def _visit(self, client: httpx2.AsyncClient, due: float) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                job = await next(self._ways)(client)
                assert job["state"] == "succeeded", f"{job['state']}: {job['error']}"
                [image] = job["images"]
                picture = (await client.get(image["url"])).raise_for_status().content
                assert hashlib.sha256(picture).hexdigest() == image["sha256"], "another picture than it says"
        except httpx2.HTTPStatusError as fault:
            detail = (await fault.response.aread()).decode()
            self._failed(f"{fault.request.method} {fault.request.url.path}: {fault.response.status_code} {detail}")
        except (AssertionError, TimeoutError, httpx2.HTTPError) as fault:
            self._failed(f"{type(fault).__name__}: {fault}")
        else:
            self.latencies.append(time.monotonic() - due)

    def _failed(self, why: str) -> None:
        if not self.errors[why]:
            print(why, flush=True)
        self.errors[why] += 1

    async def _prefer(self, client: httpx2.AsyncClient) -> dict[str, Any]:
        """Wait in the request itself."""
        return await self._ask(client, {"Prefer": "wait=100"})

    async def _poll(self, client: httpx2.AsyncClient) -> dict[str, Any]:
        """Ask again and again."""
        job = await self._ask(client, {})
        while job["state"] not in FINAL:
            await asyncio.sleep(POLL)
            job = (await client.get(f"/jobs/{job['id']}")).raise_for_status().json()
        return job

    async def _follow(self, client: httpx2.AsyncClient) -> dict[str, Any]:
        """Follow the events to the last."""
        job = await self._ask(client, {})
        async with client.stream("GET", f"/jobs/{job['id']}/events") as events:
            async for line in events.raise_for_status().aiter_lines():
                if line.startswith("data:"):
                    job = json.loads(line.removeprefix("data:"))
        return job

    async def _ask(self, client: httpx2.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
        number = self._rng.randrange(1 << 31)
        fields = {"prompt": f"subject {number}", "seed": str(number), "steps": str(self._steps)}
        answer = await client.post(
            "/stylize",
            data=fields | {"method": "signal-leak", "width": "64", "height": "64"},
            files={"style_image": ("style.png", style(self._rng), "image/png")},
            headers=headers | {"Idempotency-Key": f"visit-{number}-{len(self.latencies)}"},
        )
        return dict(answer.raise_for_status().json())
