"""The Lua scripts that move jobs between states; each runs atomically inside Redis.

`record.lua` is put before every other file: key names, the clock and the moves that the verbs share.
"""

from importlib.resources import files

NAMES = ("submit", "claim", "beat", "settle", "cancel", "sweep", "page", "position", "census", "workers")


def source(name: str) -> str:
    """Return the text of the script `name`, the shared part before it."""
    folder = files(__name__)
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("record", name))
