"""A comparison's contact sheet, drawn in a process of its own that ends with it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from app.errors import Unavailable

ROOT = Path(__file__).parents[3]
SECONDS = 30.0


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
