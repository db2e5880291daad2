"""One file from a source to its final name: resumed, verified, made durable, then renamed."""

import errno
import glob
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential,
)

from model_store.errors import DigestMismatch, NotEnoughSpace, PullInterrupted, SourceUnavailable
from model_store.fetch.progress import Watcher
from model_store.fetch.source import RemoteFile, Source
from model_store.store.files import BLOCK, put_in_place

Answer = TypeVar("Answer")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class RetryPolicy:
    """When to give up: after `attempts` connections in a row without a new byte (0: at the first break).

    Before each further connection it waits `wait_seconds`, doubling up to sixteenfold.
    """

    attempts: int = 6
    wait_seconds: float = 1.0


def retry_source(ask: Callable[[], Answer], policy: RetryPolicy, stop: Event) -> Answer:
    """Return what `ask` returns, asked again while the source does not answer and policy lasts."""
    retrying = Retrying(
        retry=retry_if_exception_type(SourceUnavailable),
        wait=wait_exponential(multiplier=2 * policy.wait_seconds, max=16 * policy.wait_seconds),
        stop=stop_after_attempt(max(1, policy.attempts)) | stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        reraise=True,
    )
    return retrying(ask)


@dataclass(frozen=True)
class Transfer:
    """One file to fetch; `sha256` is the digest it must have, where one is pinned."""

    name: str
    remote: RemoteFile
    target: Path
    sha256: str | None


def partial_of(target: Path, tag: str) -> Path:
    """Return the name under which a file's bytes gather; another content never resumes there."""
    return target.with_name(f"{target.name}.{hashlib.sha256(tag.encode()).hexdigest()[:12]}.partial")


def matches(remote: RemoteFile, size: int, sha256: str, git_sha1: str) -> bool:
    """Return whether a file is what the source states, as far as it states anything."""
    return (
        size == remote.size
        and remote.sha256 in (None, sha256)
        and (remote.git_sha1 is None or remote.git_sha1 == git_sha1)
    )


class Digests:
    """SHA-256, and the git blob digest of a file whose size is known beforehand, fed in blocks."""

    def __init__(self, size: int) -> None:
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        self.done = 0

    def feed(self, block: bytes) -> None:
        """Take the next bytes."""
        self._sha256.update(block)
        self._git.update(block)
        self.done += len(block)

    @property
    def sha256(self) -> str:
        """Return the digest so far, hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def git_sha1(self) -> str:
        """Return the git blob digest so far, hexadecimal."""
        return self._git.hexdigest()


def digests_of(path: Path, size: int) -> Digests:
    """Return the digests of a file's bytes."""
    digests = Digests(size)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digests.feed(block)
    return digests


def fetch_file(source: Source, job: Transfer, *, policy: RetryPolicy, watcher: Watcher, stop: Event) -> str:
    """Fetch one file and return its SHA-256; it appears under its final name only when whole and verified.

    Raises FetchError's kinds; unless the bytes were wrong, what has arrived is kept and resumed by the next call.
    """
    job.target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(job.target, job.remote.tag)
    for other in job.target.parent.glob(f"{glob.escape(job.target.name)}.*.partial"):
        if other != partial:
            other.unlink()
    resumed = partial.exists() and partial.stat().st_size > 0
    try:
        digests = _gather(source, job, partial, policy, watcher, stop)
        if resumed and not _verified(job, digests):
            partial.unlink()
            digests = _gather(source, job, partial, policy, watcher, stop)
    except OSError as fault:
        if fault.errno not in _FULL:
            raise
        raise NotEnoughSpace(f"the disk of {job.target.parent} is full; what has arrived is kept") from fault
    if not _verified(job, digests):
        partial.unlink()
        raise DigestMismatch(_complaint(job, digests))
    put_in_place(partial, job.target)
    return digests.sha256


def _verified(job: Transfer, digests: Digests) -> bool:
    stated = matches(job.remote, digests.done, digests.sha256, digests.git_sha1)
    return stated and job.sha256 in (None, digests.sha256)


def _complaint(job: Transfer, digests: Digests) -> str:
    expected = job.sha256 or job.remote.sha256 or f"git blob {job.remote.git_sha1}"
    return (
        f"{job.name}: expected {expected} ({job.remote.size} bytes), got {digests.sha256} ({digests.done} bytes); "
        "the source's file has changed or was damaged on the way, nothing was installed"
    )


def _gather(
    source: Source, job: Transfer, partial: Path, policy: RetryPolicy, watcher: Watcher, stop: Event
) -> Digests:
    """Complete the partial file over as many connections as policy allows; return its digests."""
    partial.touch()
    digests = digests_of(partial, job.remote.size)
    watcher.begin(job.name, job.remote.size, digests.done)

    def connect() -> None:
        """Take what one connection brings; it counts as failed when it brings nothing new."""
        nonlocal digests
        before = digests.done
        try:
            digests = _take(source, job, partial, digests, watcher, stop)
            if digests.done < job.remote.size:
                raise SourceUnavailable(f"{job.name}: the source ended at byte {digests.done} of {job.remote.size}")
        except SourceUnavailable:
            digests = digests_of(partial, job.remote.size)
            if digests.done <= before or not policy.attempts:
                raise

    while digests.done < job.remote.size:
        retry_source(connect, policy, stop)
        if digests.done < job.remote.size:
            stop.wait(policy.wait_seconds)
    return digests


def _take(source: Source, job: Transfer, partial: Path, digests: Digests, watcher: Watcher, stop: Event) -> Digests:
    """Append what one connection brings; return the digests of the partial file."""
    with source.read(job.remote, digests.done) as stream, partial.open("r+b") as file:
        if stream.start != digests.done:
            digests = Digests(job.remote.size)
        file.truncate(digests.done)
        file.seek(digests.done)
        for block in stream.blocks:
            if stop.is_set():
                raise PullInterrupted(f"stopped; {digests.done} bytes of {job.name} are kept for the next pull")
            file.write(block)
            digests.feed(block)
            watcher.reached(job.name, digests.done)
            if digests.done > job.remote.size:
                break
        file.flush()
        os.fsync(file.fileno())
    return digests
