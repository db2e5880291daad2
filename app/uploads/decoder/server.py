"""The process that forks one throw-away child per picture: `python -m app.uploads.decoder.server CONTROL_FD SECONDS`.

It holds Pillow, imported once, and nothing else: no secrets, no network, one thread. It never reads a picture itself;
it copies and hashes what a child has left behind, so that a captured child cannot lie about the hash.
"""

import gc
import hashlib
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageCms

from app.uploads.decoder import messages, sandbox
from app.uploads.decoder.normalise import ORIENTATION_TAG, encode, normalise
from app.uploads.decoder.picture_file import MAX_RECIPE_BYTES
from app.uploads.decoder.recipe_text import recipe_text
from app.uploads.limits import FORMATS, LONG_SIDE, PictureFileRefused, Verdict

NOTHING = (0, 0, 0, 0, bytes(32))
Outcome = tuple[int, int, int, int, int, bytes]
"""Verdict, width, height, bytes of the PNG, bytes of the recipe, sha256 of the PNG."""


@dataclass(frozen=True)
class DecodeChild:
    """A picture being decoded: the child leaves PNG and recipe in `result`, we copy them to the gateway's `target`."""

    number: int
    pid: int
    result: int
    target: int
    deadline: float


class DecoderServer:
    """Forks, watches and reaps the children; `seconds` is the wall-clock limit of each."""

    def __init__(self, control: socket.socket, *, seconds: float) -> None:
        self._control = control
        self._seconds = seconds
        self._children: dict[int, DecodeChild] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Answer requests until the gateway is gone."""
        while True:
            for descriptor, _ in self._poll.poll(self._patience()):
                if descriptor != self._control.fileno():
                    self._reap(descriptor)
                elif not self._accept():
                    return
            self._kill_overdue()

    def _patience(self) -> float | None:
        nearest = min((child.deadline for child in self._children.values()), default=None)
        return None if nearest is None else max(0.0, nearest - time.monotonic()) * 1000 + 1

    def _accept(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, messages.REQUEST.size, 2)
        if not message:
            return False
        number, size, is_mask = messages.REQUEST.unpack(message)
        source, target = descriptors
        result = os.memfd_create("result", os.MFD_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            decode_and_end(source, size, result, is_mask=is_mask)
        os.close(source)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = DecodeChild(number, pid, result, target, time.monotonic() + self._seconds)
        self._poll.register(pidfd, select.POLLIN)
        return True

    def _reap(self, pidfd: int) -> None:
        child = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(child.pid, 0)
        late = time.monotonic() > child.deadline
        reply = messages.REPLY.pack(child.number, *outcome(child.result, child.target, status, late), status)
        self._control.send(reply)
        os.close(child.result)
        os.close(child.target)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for pidfd, child in self._children.items():
            if now > child.deadline:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def decode_and_end(source: int, size: int, result: int, *, is_mask: bool) -> None:
    """Decode `source` into `result` and end this process; never returns. An unexpected fault is exit status 1."""
    status = 1
    try:
        upload = os.pread(source, size, 0)
        result = sandbox.confine(result, max_output=messages.MAX_PNG_BYTES + MAX_RECIPE_BYTES)
        os.pwrite(result, _decode(upload, result, is_mask=is_mask), 0)
        status = 0
    finally:
        os._exit(status)


def _decode(upload: bytes, result: int, *, is_mask: bool) -> bytes:
    try:
        with open(result, "wb", closefd=False) as output:
            picture = normalise(BytesIO(upload), is_mask=is_mask)
            output.seek(messages.PNG_OFFSET)
            encode(picture, output)
            size = output.tell() - messages.PNG_OFFSET
            recipe_size = output.write(recipe_text(BytesIO(upload)))
        return messages.RESULT.pack(messages.MAGIC, Verdict.ACCEPTED, *picture.size, size, recipe_size)
    except PictureFileRefused as refused:
        return messages.RESULT.pack(messages.MAGIC, refused.verdict, 0, 0, 0, 0)


def outcome(result: int, target: int, status: int, late: bool) -> Outcome:
    """Return what a child has left; PNG and recipe are in `target` then, one behind the other."""
    if status == 0:
        return _taken_over(result, target) or (Verdict.CRASHED, *NOTHING)
    spent = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGXFSZ)
    return (Verdict.TIMED_OUT if late else Verdict.RESOURCE_LIMIT if spent else Verdict.CRASHED, *NOTHING)


def _taken_over(result: int, target: int) -> Outcome | None:
    """Copy what the child says it made, None when that cannot be: a captured child may leave anything behind."""
    record = os.pread(result, messages.RESULT.size, 0)
    if len(record) < messages.RESULT.size:
        return None
    magic, verdict, width, height, size, recipe_size = messages.RESULT.unpack(record)
    if magic == messages.MAGIC and verdict in PictureFileRefused.VERDICTS:
        return verdict, *NOTHING
    sides = 0 < width <= LONG_SIDE and 0 < height <= LONG_SIDE
    sizes = 0 < size <= messages.MAX_PNG_BYTES and recipe_size <= MAX_RECIPE_BYTES
    if magic != messages.MAGIC or verdict != Verdict.ACCEPTED or not sides or not sizes:
        return None
    left = os.pread(result, size + recipe_size, messages.PNG_OFFSET)
    if len(left) != size + recipe_size or os.pwrite(target, left, 0) != len(left):
        return None
    return Verdict.ACCEPTED, width, height, size, recipe_size, hashlib.sha256(memoryview(left)[:size]).digest()


def warm_up() -> None:
    """Decode a picture of each kind of our own, so that every parser is loaded before files are out of reach."""
    exif, xmp = Image.Exif(), b'<x stylize:recipe="{}"/>'
    exif[ORIENTATION_TAG] = 1
    for kind in FORMATS:
        for mode in ("RGB", "L"):
            sample, packet = BytesIO(), {} if kind == "PNG" else {"xmp": xmp}
            Image.new(mode, (32, 32), "white").save(sample, kind, icc_profile=_profile(), exif=exif, **packet)
            encode(normalise(BytesIO(sample.getvalue())), BytesIO())
            recipe_text(BytesIO(sample.getvalue()))


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def main() -> None:
    """Serve the gateway at the other end of the control socket until it is gone."""
    descriptor, seconds = int(sys.argv[1]), float(sys.argv[2])
    with socket.socket(fileno=descriptor) as control:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gateway, which closes the socket
        warm_up()
        isolated = sandbox.isolate()
        gc.freeze()
        control.send(messages.HELLO.pack(isolated))
        DecoderServer(control, seconds=seconds).serve()


if __name__ == "__main__":
    main()
