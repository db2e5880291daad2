"""A proxy between processes and Redis, in a thread of its own, that can break connections in every usual way."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.service import PATIENCE

CHUNK = 65536


class Proxy:
    """Listens on one unix socket and passes everything on to another.

    While `stalled`, bytes that arrive are kept back and connections stay open, as behind a firewall that forgot them.
    `latency` is added to every reply.
    """

    def __init__(self, listen: Path, target: Path) -> None:
        self.url = f"unix://{listen}"
        self.latency = 0.0
        self._listen, self._target = listen, target
        self._truncating = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._count = self._forgotten = 0
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._server = self._do(asyncio.start_unix_server(self._serve, self._listen))

    def close(self) -> None:
        self._server.close()
        self.cut()
        self._do(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def cut(self) -> None:
        """Break every connection."""
        self._do(self._cut())

    def stall(self) -> None:
        """Pass nothing on any more, on old and new connections."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Pass on again, also what was kept back."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def forget(self) -> None:
        """Let the connections that are open now be dead without a word; new ones work."""
        self._forgotten = self._count

    def truncate(self, replies: int = 1) -> None:
        """Break the connections of the next replies in the middle of the reply."""
        self._truncating = replies

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._count += 1
        number = self._count
        with suppress(OSError):
            behind, ahead = await asyncio.open_unix_connection(self._target)
            self._writers.add(ahead)
            await asyncio.gather(
                self._pump(number, reader, ahead, reply=False), self._pump(number, behind, writer, reply=True)
            )
            self._release(ahead)
        self._release(writer)

    async def _pump(
        self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, reply: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await asyncio.sleep(self.latency if reply else 0)
                await self._flowing.wait()
                if number <= self._forgotten:
                    await asyncio.Event().wait()
                if reply and self._truncating:
                    self._truncating -= 1
                    sink.write(data[: len(data) // 2])
                    await sink.drain()
                    break
                sink.write(data)
                await sink.drain()
        sink.close()

    def _release(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        self._writers.discard(writer)
