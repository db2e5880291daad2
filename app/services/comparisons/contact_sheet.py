"""A comparison's contact sheet, drawn in a process of its own that ends with it."""

import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from app.errors import Unavailable
from app.storage.blob_calls import BlobCalls
from workers.contract.blobs import BlobStore
from workers.contract.jobs.models import Job

ROOT = Path(__file__).parents[3]
SECONDS = 30.0
LAYOUT = 1
"""Another number for sheets that look otherwise: those drawn before are not sent any more."""


def sheet_tag(jobs: Sequence[Job | None]) -> str:
    """Return what tells a comparison's sheet from one with other pictures: those of a deleted job are not on it."""
    shown = [(job.id, job.token) if job else None for job in jobs]
    return hashlib.sha256(json.dumps([LAYOUT, shown]).encode()).hexdigest()[:16]


class ContactSheets:
    """Draws sheets, one at a time: each takes a process and the pictures' memory. To be made in the event loop."""

    def __init__(self, blobs: BlobStore, calls: BlobCalls) -> None:
        self._blobs = blobs
        self._calls = calls
        self._drawing = asyncio.Semaphore(1)

    async def write(self, name: str, labels: Sequence[str], jobs: Sequence[Job | None]) -> None:
        """Draw the first picture of each job over its label and store the sheet. Raises Unavailable, BlobError."""
        async with self._drawing:
            pictures = [await self._calls.call(self._first_picture, job) for job in jobs]
            sheet = await draw_contact_sheet(list(zip(labels, pictures, strict=True)))
        await self._calls.call(self._blobs.put, name, sheet, content_type="image/png", if_absent=False)

    def _first_picture(self, job: Job | None) -> bytes:
        """Return the file of a job's first picture; empty when it has none."""
        return self._blobs.get(job.result.images[0].blob) if job and job.result and job.result.images else b""


async def draw_contact_sheet(cells: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the sheet of labelled picture files; an empty file is an empty tile. Raises Unavailable."""
    head = json.dumps([(label, len(file)) for label, file in cells]).encode() + b"\n"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-s", "-P", "-m", "app.services.comparisons.drawing"),
        env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            sheet, _ = await process.communicate(head + b"".join(file for _, file in cells))
    except TimeoutError as late:
        raise Unavailable("the sheet takes too long to draw") from late
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Unavailable("the sheet could not be drawn")
    return sheet
