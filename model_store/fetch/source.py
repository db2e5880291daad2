"""Where files come from: the hub, an S3 mirror or a local folder, all with the same three questions."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class RemoteFile:
    """What a source says about one file before it is read."""

    repository: str
    revision: str
    """The commit, or whatever names the state of the source; ask for the following files with it."""
    path: str
    size: int
    tag: str
    """Changes whenever the content changes; it names the partial file that may be resumed."""
    sha256: str | None = None
    git_sha1: str | None = None
    """Digest of the git blob, which the hub states for small files instead of SHA-256."""


@dataclass(frozen=True)
class RemoteStream:
    """Bytes of a file from `start` on; a source that cannot begin in the middle answers with start 0."""

    start: int
    blocks: Iterator[bytes]


class Source(Protocol):
    """One place that files are fetched from. Every method raises the errors of `FetchError`."""

    def names(self, repository: str, revision: str) -> Sequence[str]:
        """Return the paths of all files of a repository."""
        ...

    def stat(self, repository: str, revision: str, path: str) -> RemoteFile:
        """Return size and digest of one file, and the revision resolved to a commit."""
        ...

    def read(self, file: RemoteFile, start: int) -> AbstractContextManager[RemoteStream]:
        """Open a file for reading from byte `start`.

        A broken connection raises SourceUnavailable, in the block's iteration too.
        """
        ...
