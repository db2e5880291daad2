"""The gateway's end of the decoder: hands uploads to the zygote, gets sealed PNGs back, restarts it when it dies."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from app.intake import wire
from app.intake.rules import Refused, Verdict

log = logging.getLogger(__name__)

PACKAGE_ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30.0
ATTEMPTS = 2


class DecoderLost(Exception):
    """The decoder could not be started or died repeatedly; no fault of the picture."""


@dataclass(frozen=True)
class Decoded:
    """A picture that passed: `descriptor` holds the sealed PNG from wire.PNG_OFFSET on. Close it after use."""

    descriptor: int
    width: int
    height: int
    size: int
    sha256: str

    def png(self) -> bytes:
        """Return the bytes of the PNG."""
        return os.pread(self.descriptor, self.size, wire.PNG_OFFSET)

    def close(self) -> None:
        """Free the picture's memory."""
        os.close(self.descriptor)


class Decoder:
    """Decodes at most `parallel` pictures at once, each in a child that is killed after `seconds`."""

    def __init__(self, *, parallel: int, seconds: float) -> None:
        self._seconds = seconds
        self._slots = asyncio.Semaphore(parallel)
        self._starting = asyncio.Lock()
        self._line: Line | None = None
        self._closed = False

    async def start(self) -> None:
        """Start the zygote, so that the first picture need not wait for it. Raises DecoderLost."""
        await self._current_line()

    async def decode(self, upload: int) -> Decoded:
        """Return the picture in the file `upload`, decoded. Raises Refused or DecoderLost."""
        async with self._slots:
            for _ in range(ATTEMPTS):
                line = await self._current_line()
                try:
                    async with asyncio.timeout(self._seconds + START_SECONDS):
                        return await line.ask(upload)
                except TimeoutError:
                    log.error("the decoder hangs: restarting it")
                    line.close()
                except ConnectionError:
                    log.warning("the decoder died: restarting it")
        raise DecoderLost("the decoder died repeatedly")

    async def close(self) -> None:
        """End the zygote and with it all its children."""
        self._closed = True
        if self._line is not None:
            self._line.close()

    async def _current_line(self) -> "Line":
        async with self._starting:
            if self._line is not None and not self._line.closed:
                return self._line
            if self._closed:
                raise DecoderLost("the gateway is stopping")
            self._line = await Line.open(self._seconds)
            return self._line


class Line:
    """One zygote and the socket to it."""

    def __init__(self, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._process = process
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Decoded]] = {}
        self._loop.add_reader(control, self._read)
        self.closed = False

    @classmethod
    async def open(cls, seconds: float) -> "Line":
        """Start a zygote without our environment and descriptors, and wait until it is warm. Raises DecoderLost."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        descriptor = theirs.fileno()
        with theirs:
            process = subprocess.Popen(
                (sys.executable, "-s", "-P", "-m", "app.intake.zygote", str(descriptor), str(seconds)),
                env={"PYTHONPATH": str(PACKAGE_ROOT), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(descriptor,),
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                hello = await asyncio.get_running_loop().sock_recv(ours, wire.HELLO.size)
            (isolated,) = wire.HELLO.unpack(hello)
        except (OSError, TimeoutError, ValueError) as fault:
            process.kill()
            process.wait()
            ours.close()
            raise DecoderLost("the decoder did not start") from fault
        log.info("decoder started, %s network", "without" if isolated else "WITH the host's")
        return cls(ours, process)

    async def ask(self, upload: int) -> Decoded:
        """Have one upload decoded. Raises Refused, or ConnectionError when the zygote is gone."""
        self._numbers += 1
        answer: asyncio.Future[Decoded] = self._loop.create_future()
        self._waiting[self._numbers] = answer
        try:
            socket.send_fds(self._control, [wire.REQUEST.pack(self._numbers)], [upload])
        except OSError as fault:
            self.close()
            raise ConnectionError("the zygote is gone") from fault
        return await answer

    def close(self) -> None:
        """End the zygote; whoever still waits gets a ConnectionError."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._control)
        self._control.close()
        self._process.kill()
        self._process.wait()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the zygote is gone"))
        self._waiting.clear()

    def _read(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, wire.REPLY.size, 1)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if not message:
            self.close()
            return
        number, verdict, width, height, size, sha256, status = wire.REPLY.unpack(message)
        answer = self._waiting.pop(number)
        if verdict == Verdict.ACCEPTED and not answer.done():
            answer.set_result(Decoded(descriptors[0], width, height, size, sha256.hex()))
            return
        os.close(descriptors[0])
        if verdict == Verdict.CRASHED:
            log.warning("a picture ended its decoder with wait status %d", status)
        if not answer.done():
            answer.set_exception(Refused(Verdict(verdict)))
