"""The outer form of a pickled checkpoint, checked before the child opens it. Never imports torch or unpickles."""

import tarfile
import zipfile
from pathlib import Path

from model_store.errors import ConversionFailed

_ALLOWED_FLAGS = 0x808
"""Zip flags that torch itself sets: a data descriptor follows, names are UTF-8."""
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"


def check_form(source: Path) -> None:
    """Return when `source` is a plain file in torch's zip form or its older pickle form.

    Raises ConversionFailed for links, tar files, scripted models, and archives that two readers may understand in two
    ways: flags, compression, doubles, names that leave the archive, members whose own header disagrees.
    """
    if source.is_symlink() or not source.is_file():
        raise ConversionFailed(f"{source} is no plain file")
    with source.open("rb") as file:
        start = file.read(4)
    try:
        if start == _ZIP:
            _check_zip(source)
        elif zipfile.is_zipfile(source):
            raise ConversionFailed(f"{source}: an archive hidden behind other bytes")
        elif tarfile.is_tarfile(source):
            raise ConversionFailed(f"{source}: the legacy tar form is not read")
        elif not start.startswith(_PICKLE):
            raise ConversionFailed(f"{source}: neither torch's zip form nor its older pickle form")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, tarfile.TarError) as fault:
        raise ConversionFailed(f"{source}: {fault}") from fault


def _check_zip(source: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if len(set(names)) != len(names):
            raise ConversionFailed(f"{source}: a name stands twice in the archive")
        if sum(name.endswith("data.pkl") for name in names) != 1 or any("constants.pkl" in name for name in names):
            raise ConversionFailed(f"{source}: the archive is not a plain state dict")
        for member in members:
            if member.flag_bits & ~_ALLOWED_FLAGS or member.compress_type != zipfile.ZIP_STORED:
                raise ConversionFailed(f"{source}: {member.filename}: encrypted, patched or compressed")
            if member.filename.startswith("/") or ".." in member.filename.split("/"):
                raise ConversionFailed(f"{source}: {member.filename}: leaves the archive")
            archive.open(member).close()  # compares the member's own header with the directory's
