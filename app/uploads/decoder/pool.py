"""The gateway's end of the decoder: hands uploads to the server, gets PNGs back, restarts it when it dies."""

import asyncio
import logging
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.uploads.buffers import MemoryFile, UploadMemory
from app.uploads.decoder import messages
from app.uploads.limits import PictureFileRefused, Verdict
from app.uploads.upload import Upload
from workers.contract.blobs import Pages

log = logging.getLogger(__name__)

PACKAGE_ROOT = Path(__file__).parents[3]
START_SECONDS = 30.0
ATTEMPTS = 2


class DecoderLost(Exception):
    """The decoder could not be started or died repeatedly; no fault of the picture."""


@dataclass(frozen=True)
class Decoded:
    """A picture that passed; its PNG is the first `size` bytes of `file`. Close it after use.

    `recipe` is the text of the recipe that it carries, empty without one.
    """

    file: MemoryFile
    memory: UploadMemory
    width: int
    height: int
    size: int
    sha256: str
    recipe: str

    def png(self) -> Pages:
        """Return the PNG where it lies."""
        return Pages(self.file.file, self.file.mapped, self.size)

    def close(self) -> None:
        """Give the memory back."""
        self.memory.restore(self.file)


class Decoder:
    """Decodes at most `parallel` pictures at once, each in a child that is killed after `seconds`."""

    def __init__(self, memory: UploadMemory, *, parallel: int, seconds: float) -> None:
        self._memory = memory
        self._seconds = seconds
        self._slots = asyncio.Semaphore(parallel)
        self._starting = asyncio.Lock()
        self._line: DecoderConnection | None = None
        self._closed = False

    async def start(self) -> None:
        """Start the server, so that the first picture need not wait for it. Raises DecoderLost."""
        await self._current_line()

    async def decode(self, upload: Upload) -> Decoded:
        """Return the picture in an upload, decoded. Raises PictureFileRefused or DecoderLost."""
        target = self._memory.borrow()
        try:
            async with self._slots:
                reply = await self._ask(upload, target)
        except (PictureFileRefused, DecoderLost):
            self._memory.restore(target)
            raise
        except BaseException:
            target.close()  # given up halfway: the server may still write to it
            raise
        recipe = target.mapped[reply.size : reply.size + reply.recipe_size].decode("utf-8", "replace")
        return Decoded(target, self._memory, reply.width, reply.height, reply.size, reply.sha256, recipe)

    async def close(self) -> None:
        """End the server and with it all its children."""
        self._closed = True
        if self._line is not None:
            self._line.close()

    async def _ask(self, upload: Upload, target: MemoryFile) -> "Reply":
        for _ in range(ATTEMPTS):
            line = self._line if self._line is not None and not self._line.closed else await self._current_line()
            watch = asyncio.get_running_loop().call_later(self._seconds + START_SECONDS, line.close)
            try:
                return await line.ask(upload, target.file)
            except ConnectionError:
                log.warning("the decoder died or hung: restarting it")
            finally:
                watch.cancel()
        raise DecoderLost("the decoder died repeatedly")

    async def _current_line(self) -> "DecoderConnection":
        async with self._starting:
            if self._line is not None and not self._line.closed:
                return self._line
            if self._closed:
                raise DecoderLost("the gateway is stopping")
            self._line = await DecoderConnection.open(self._seconds)
            return self._line


class Reply(NamedTuple):
    """What the server says of a picture that passed."""

    width: int
    height: int
    size: int
    recipe_size: int
    sha256: str


class DecoderConnection:
    """One decoder server and the socket to it."""

    def __init__(self, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._process = process
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._loop.add_reader(control, self._read)
        self.closed = False

    @classmethod
    async def open(cls, seconds: float) -> "DecoderConnection":
        """Start a decoder server without our environment and wait until it is warm. Raises DecoderLost."""
        ours, process = spawn(seconds)
        try:
            async with asyncio.timeout(START_SECONDS):
                hello = await asyncio.get_running_loop().sock_recv(ours, messages.HELLO.size)
            (isolated,) = messages.HELLO.unpack(hello)
        except (OSError, TimeoutError, struct.error) as fault:
            process.kill()
            process.wait()
            ours.close()
            raise DecoderLost("the decoder did not start") from fault
        log.info("decoder started, %s network", "without" if isolated else "WITH the host's")
        return cls(ours, process)

    async def ask(self, upload: Upload, target: int) -> Reply:
        """Have one upload decoded. Raises PictureFileRefused, or ConnectionError when the server is gone."""
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[number] = answer
        try:
            socket.send_fds(
                self._control, [messages.REQUEST.pack(number, upload.size, upload.is_mask)], [upload.file.file, target]
            )
        except OSError as fault:
            self.close()
            raise ConnectionError("the server is gone") from fault
        return await answer

    def close(self) -> None:
        """End the server; whoever still waits gets a ConnectionError."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._control)
        self._control.close()
        self._process.kill()
        self._process.wait()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the server is gone"))
        self._waiting.clear()

    def _read(self) -> None:
        try:
            message = self._control.recv(messages.REPLY.size)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self.close()
            return
        number, verdict, width, height, size, recipe_size, sha256, status = messages.REPLY.unpack(message)
        if verdict == Verdict.CRASHED:
            log.warning("a picture ended its decoder with wait status %d", status)
        answer = self._waiting.pop(number)
        if answer.done():
            return
        if verdict == Verdict.ACCEPTED:
            answer.set_result(Reply(width, height, size, recipe_size, sha256.hex()))
        else:
            answer.set_exception(PictureFileRefused(Verdict(verdict)))


def spawn(seconds: float) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a decoder server and return our end of its control socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    descriptor = theirs.fileno()
    with theirs:
        process = subprocess.Popen(
            (sys.executable, "-s", "-P", "-m", "app.uploads.decoder.server", str(descriptor), str(seconds)),
            env={"PYTHONPATH": str(PACKAGE_ROOT), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(descriptor,),
        )
    return ours, process
