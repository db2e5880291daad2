"""A comparison's contact sheet, drawn in a process of its own that ends with it."""

import asyncio
import hashlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.errors import Unavailable
from app.storage.blob_calls import BlobCalls
from workers.contract.blobs import BlobStore, input_name
from workers.contract.errors import BlobMissing
from workers.contract.jobs.comparisons import Comparison
from workers.contract.jobs.models import Job, StylizeRequest

ROOT = Path(__file__).parents[3]
SECONDS = 60.0
MOST_COLUMNS = 16
FEW_COLUMNS = 4
LAYOUT = 2
"""Another number for sheets that look otherwise: those drawn before are not sent any more."""
Jobs = Sequence[Job | None]
Shown = tuple[str, str]
"""A label and the name of the picture's blob; empty where there is none."""


def sheet_tag(jobs: Jobs) -> str:
    """Return what tells a comparison's sheet from one with other pictures: those of a deleted job are not on it."""
    shown = [(job.id, job.token) if job else None for job in jobs]
    return hashlib.sha256(json.dumps([LAYOUT, shown]).encode()).hexdigest()[:16]


class ContactSheets:
    """Draws sheets, one at a time: each takes a process and a picture's memory. To be made in the event loop."""

    def __init__(self, blobs: BlobStore, calls: BlobCalls) -> None:
        self._blobs = blobs
        self._calls = calls
        self._drawing = asyncio.Semaphore(1)

    async def write(self, name: str, comparison: Comparison, jobs: Jobs) -> None:
        """Draw all pictures of the jobs over their labels, below prompt and references, and store the sheet.

        Raises Unavailable, BlobError.
        """
        references = list(_references(jobs))
        tiles = list(_tiles(comparison, jobs))
        head = {
            "prompt": comparison.prompt or next((_prompt(job) for job in jobs if job), ""),
            "columns": _columns(comparison, jobs),
            "references": len(references),
            "tiles": len(tiles),
        }
        async with self._drawing:
            sheet = await self._draw(head, [*references, *tiles])
        await self._calls.call(self._blobs.put, name, sheet, content_type="image/png", if_absent=False)

    async def _draw(self, head: dict[str, object], shown: Sequence[Shown]) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-s", "-P", "-m", "app.services.comparisons.drawing"),
            env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
            stdin=PIPE,
            stdout=PIPE,
        )
        try:
            async with asyncio.timeout(SECONDS):
                await self._send(process, head, shown)
                sheet, _ = await process.communicate()
        except TimeoutError as late:
            raise Unavailable("the sheet takes too long to draw") from late
        except ConnectionError as ended:
            raise Unavailable("the sheet could not be drawn") from ended
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise Unavailable("the sheet could not be drawn")
        return sheet

    async def _send(self, process: Process, head: dict[str, object], shown: Sequence[Shown]) -> None:
        """Send one picture after another: they are never together in memory."""
        assert process.stdin is not None
        process.stdin.write(json.dumps(head).encode() + b"\n")
        for label, blob in shown:
            file = await self._calls.call(self._read, blob) if blob else b""
            process.stdin.write(json.dumps([label, len(file)]).encode() + b"\n" + file)
            await process.stdin.drain()

    def _read(self, blob: str) -> bytes:
        """Return a picture's file; empty when it was deleted meanwhile."""
        try:
            return self._blobs.get(blob)
        except BlobMissing:
            return b""


def _prompt(job: Job) -> str:
    return job.request.prompt if isinstance(job.request, StylizeRequest) else ""


def _references(jobs: Jobs) -> Iterator[Shown]:
    """Yield the pictures that the jobs were made from, each once."""
    names: dict[str, str] = {}
    for job in jobs:
        if job and isinstance(job.request, StylizeRequest):
            names |= dict.fromkeys(job.request.style_images, "style")
            names |= {sha256: "content" for sha256 in (job.request.content_image,) if sha256}
    yield from ((label, input_name(sha256)) for sha256, label in names.items())


def _tiles(comparison: Comparison, jobs: Jobs) -> Iterator[Shown]:
    """Yield the pictures of each cell; as many for each, that the columns stand below one another."""
    most = _most_pictures(jobs)
    for cell, job in zip(comparison.cells, jobs, strict=True):
        images = job.result.images if job and job.result else ()
        for n in range(most):
            label = f"{cell.label} #{n + 1}" if most > 1 else cell.label
            yield label if n < max(1, len(images)) else "", images[n].blob if n < len(images) else ""


def _columns(comparison: Comparison, jobs: Jobs) -> int:
    """Return how many columns there are: the seeds and their pictures, else the strengths, else what fits."""
    cells = comparison.cells
    seeds, methods = len({cell.seed for cell in cells}), len({cell.method for cell in cells})
    across = seeds * _most_pictures(jobs)
    if across == 1:
        across = max(1, len(cells) // methods)
    if across == 1:
        across = min(len(cells), FEW_COLUMNS)
    return min(across, MOST_COLUMNS)


def _most_pictures(jobs: Jobs) -> int:
    return max([1, *(len(job.result.images) for job in jobs if job and job.result)])
