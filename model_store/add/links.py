"""Links in an operator's folder: the hub's cache keeps its files as links, which are followed; others are not."""

from pathlib import Path

from model_store.errors import MalformedFile, NotInstalled


def plain_file(file: Path, source: Path) -> Path:
    """Return where a file of the folder `source` lies, which may be the hub's cache: its links lead to its blobs.

    Raises NotInstalled for a file that is missing, MalformedFile for what is no file and for a link that leads
    elsewhere: what it leads to was perhaps not meant to be copied.
    """
    if not file.is_symlink() and not file.exists():
        raise NotInstalled(f"{file} is missing")
    if not file.is_file():
        raise MalformedFile(f"{file}: is no file, or a link that leads nowhere")
    real = file.resolve()
    if not any(real.is_relative_to(root) for root in _roots(source.resolve())):
        raise MalformedFile(f"{file}: is a link out of the folder; copy what it leads to: cp -rL {source} COPY")
    return real


def _roots(source: Path) -> tuple[Path, ...]:
    """Return the folder, and the blobs beside its snapshot where it lies in the hub's cache."""
    snapshots = (folder.parent for folder in (source, *source.parents) if folder.parent.name == "snapshots")
    return source, *(folder.parent / "blobs" for folder in snapshots)
