"""Pictures as one zip, written while it is sent: neither the archive nor a whole picture is ever in memory."""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, closing
from dataclasses import dataclass
from datetime import datetime
from io import RawIOBase
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from starlette.responses import Response

from app.errors import AnswerBroken, Unavailable
from app.storage.archived_picture import ArchivedPicture
from app.storage.send import BlobSender, OpenedResponse
from workers.contract.errors import BlobError, BlobMissing

log = logging.getLogger(__name__)

RECIPES = "recipes.json"
EARLIEST = 1980
"""The first year that a zip can tell."""


class WrittenBytes(RawIOBase):
    """A file that cannot seek and that forgets what was taken from it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Keep a part until it is taken."""
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


@dataclass(frozen=True)
class ArchiveSender:
    """Makes answers of several blobs."""

    sender: BlobSender

    def answer(self, pictures: Sequence[ArchivedPicture], caller: str, file: str) -> Response:
        """Return an answer that streams a zip. Raises TooManyStreams, Unavailable."""
        opened = AsyncExitStack()
        self.sender.take(caller, opened)
        headers = {"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "private, no-cache"}
        parts = self._parts(pictures)
        opened.push_async_callback(parts.aclose)  # a caller that leaves leaves a picture open
        return OpenedResponse(parts, opened, media_type="application/zip", headers=headers)

    async def _parts(self, pictures: Sequence[ArchivedPicture]) -> AsyncGenerator[bytes]:
        written, recipes = WrittenBytes(), []
        with ZipFile(written, "w", ZIP_STORED) as archive:
            for picture in pictures:
                try:
                    stream = await self.sender.open_stream(picture.blob)
                except BlobMissing:
                    log.info("%s was deleted while it was to be sent", picture.blob)
                    continue
                except (BlobError, Unavailable) as fault:
                    log.warning("an archive was not sent to its end: %s", fault)
                    raise AnswerBroken from fault
                with closing(stream), archive.open(_entry(picture.file, picture.made_at), "w") as member:
                    async with aclosing(self.sender.blocks(stream)) as blocks:
                        async for block in blocks:
                            member.write(block)
                            yield written.take()
                recipes.append({"file": picture.file, **picture.told})
            made_at = max((picture.made_at for picture in pictures), default=datetime.min)
            archive.writestr(_entry(RECIPES, made_at), json.dumps(recipes, indent=2, ensure_ascii=False))
        yield written.take()


def _entry(file: str, made_at: datetime) -> ZipInfo:
    entry = ZipInfo(file, (max(EARLIEST, made_at.year), *made_at.timetuple()[1:6]))
    entry.external_attr = 0o644 << 16
    return entry
