"""A picture of a zip."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class ArchivedPicture:
    """A picture of an archive: its file's name, the blob, when it was made, what `recipes.json` says of it."""

    file: str
    blob: str
    made_at: datetime
    told: Mapping[str, Any]
