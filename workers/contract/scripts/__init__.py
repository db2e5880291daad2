"""The Lua scripts that move jobs between states; each runs atomically inside Redis.

`record.lua` is put before every other file: key names, the clock and the moves that the verbs share. Scripts that learn
or tell how long jobs take get `estimate.lua` as well.
"""

from importlib.resources import files

NAMES = ("submit", "claim", "beat", "settle", "cancel", "sweep", "page", "style", "outlook", "census", "workers")
ESTIMATING = ("submit", "settle", "outlook")


def source(name: str) -> str:
    """Return the text of the script `name`, the shared part before it."""
    folder = files(__name__)
    parts = ("record", "estimate", name) if name in ESTIMATING else ("record", name)
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
