"""Pictures on their way out: read and sent block by block, so many bytes at once for one caller and for all."""

import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.errors import AnswerBroken, RangeNotSatisfiable, TooManyStreams, Unavailable
from app.storage.blob_calls import BlobCalls
from app.storage.byte_range import parse_range
from workers.contract.blobs import BLOCK, BlobStore, BlobStream
from workers.contract.errors import BlobError

log = logging.getLogger(__name__)

STREAM_BYTES = 4 * BLOCK
"""What a picture on its way takes: a block read, one being sent, and the buffers of the connection."""
SHARE = 4
"""One caller may take this part of all."""


class SendBudget:
    """Counts what is being sent."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._callers: Counter[str] = Counter()

    def take(self, caller: str) -> None:
        """Take what one picture needs. Raises TooManyStreams, Unavailable."""
        if (self._callers[caller] + 1) * STREAM_BYTES > max(STREAM_BYTES, self._size // SHARE):
            raise TooManyStreams("too many pictures are being sent to you; read some to their end first")
        if (self._callers.total() + 1) * STREAM_BYTES > self._size:
            raise Unavailable("too many pictures are being sent at the same time", retry_after=1)
        self._callers[caller] += 1

    def give(self, caller: str) -> None:
        """Give it back."""
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]


class BlobSender:
    """Makes answers of blobs."""

    def __init__(self, blobs: BlobStore, calls: BlobCalls, budget: SendBudget) -> None:
        self._blobs = blobs
        self._calls = calls
        self._budget = budget

    async def answer(
        self, name: str, caller: str, media_type: str, headers: Mapping[str, str], wanted: str | None = None
    ) -> Response:
        """Return an answer that streams a blob, or the part that a `Range` header wants.

        Raises BlobMissing, RangeNotSatisfiable, TooManyStreams, Unavailable.
        """
        opened = AsyncExitStack()
        stream = await self.open(name, caller, opened)
        try:
            part = parse_range(wanted, stream.size)
        except RangeNotSatisfiable:
            await opened.aclose()
            raise
        told = {"Accept-Ranges": "bytes", "Content-Length": str(len(part) if part else stream.size), **headers}
        if part is None:
            return OpenedResponse(self.blocks(stream), opened, media_type=media_type, headers=told)
        told["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{stream.size}"
        return OpenedResponse(cut(self.blocks(stream), part), opened, 206, told, media_type)

    async def open(self, name: str, caller: str, opened: AsyncExitStack) -> BlobStream:
        """Return a blob's stream, which ends with `opened`. Raises BlobMissing, TooManyStreams, Unavailable."""
        self.take(caller, opened)
        try:
            stream = await self.open_stream(name)
        except BaseException:
            await opened.aclose()
            raise
        opened.callback(stream.close)
        return stream

    def take(self, caller: str, opened: AsyncExitStack) -> None:
        """Take what one answer needs until `opened` ends. Raises TooManyStreams, Unavailable."""
        self._budget.take(caller)
        opened.callback(self._budget.give, caller)

    async def open_stream(self, name: str) -> BlobStream:
        """Return a blob's stream, which the caller closes. Raises BlobMissing, Unavailable."""
        return await self._calls.call(self._blobs.stream, name)

    async def blocks(self, stream: BlobStream) -> AsyncGenerator[bytes]:
        """Yield the blocks. Raises AnswerBroken when the store fails: the answer has begun."""
        try:
            while block := await self._calls.call(next, stream.blocks, b""):
                yield block
        except (BlobError, Unavailable) as fault:
            log.warning("a picture was not sent to its end: %s", fault)
            raise AnswerBroken from fault


async def cut(blocks: AsyncIterator[bytes], part: range) -> AsyncIterator[bytes]:
    """Yield the part of what the blocks are together."""
    at = 0
    async for block in blocks:
        if kept := block[max(0, part.start - at) : max(0, part.stop - at)]:
            yield kept
        at += len(block)
        if at >= part.stop:
            return


class OpenedResponse(StreamingResponse):
    """Streams what holds something open, which ends with the answer whatever becomes of the caller."""

    def __init__(self, content: AsyncIterator[bytes], opened: AsyncExitStack, *more: Any, **named: Any) -> None:
        super().__init__(content, *more, **named)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._opened:
            await super().__call__(scope, receive, send)
