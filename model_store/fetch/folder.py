"""A local folder, `<folder>/<repository>/<path>`: for hosts without a network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_store.errors import ModelNotFound, SourceUnavailable
from model_store.fetch.source import RemoteFile, RemoteStream
from model_store.store.files import BLOCK


class Folder:
    """Files of a folder. It has no revisions: what it holds now is what is fetched."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, repository: str, revision: str) -> Sequence[str]:
        """Return the paths of all files of a repository."""
        folder = self._root / repository
        return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())

    def stat(self, repository: str, revision: str, path: str) -> RemoteFile:
        """Return size and tag of a file. Raises ModelNotFound."""
        file = self._root / repository / path
        if not file.is_file():
            raise ModelNotFound(f"{file} is not there")
        state = file.stat()
        return RemoteFile(repository, revision, path, state.st_size, f"{state.st_size}-{state.st_mtime_ns}")

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[RemoteStream]:
        """Open a file from byte `start`."""
        path = self._root / file.repository / file.path
        try:
            with path.open("rb") as opened:
                opened.seek(start)
                yield RemoteStream(start, iter(lambda: opened.read(BLOCK), b""))
        except OSError as fault:
            if fault.filename != str(path):
                raise
            raise SourceUnavailable(f"{path}: {fault.strerror}") from fault
