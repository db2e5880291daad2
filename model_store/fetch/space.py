"""Is there room for what is to be fetched?"""

import shutil
from pathlib import Path

from model_store.errors import NotEnoughSpace

MARGIN = 64 << 20
"""Bytes left free beside what is fetched."""


def require_space(folder: Path, needed: int) -> None:
    """Return when `folder`'s disk can take `needed` bytes. Raises NotEnoughSpace stating how much is missing."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed and free < needed + MARGIN:
        raise NotEnoughSpace(
            f"{needed / 1e9:.2f} GB are needed in {folder} and {free / 1e9:.2f} GB are free; "
            "free some (`stylize models gc`) or choose another folder"
        )
