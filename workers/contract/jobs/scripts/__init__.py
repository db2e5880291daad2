"""The Lua scripts that move jobs between states; each runs atomically inside Redis.

`shared.lua` is put before every other file: key names, the clock and the moves that the verbs share. PARTS tells which
scripts get what else before them.
"""

from importlib.resources import files

NAMES = (
    *("submit", "admit", "claim", "beat", "finish", "cancel", "delete", "sweep"),
    *("page", "queue_estimate", "note_estimate", "queue_stats", "versions", "workers"),
)
PARTS = {
    "admission": ("submit", "admit", "style", "inputs"),
    "forget": ("sweep", "delete"),
    "dropped": ("style", "delete"),
    "durations": ("finish",),
    "position": ("submit", "queue_estimate", "versions"),
    "estimate": ("submit", "queue_estimate"),
}


def source(name: str) -> str:
    """Return the text of the script `name`, what it shares with others before it."""
    folder = files(__name__)
    parts = ("shared", *(part for part, users in PARTS.items() if name in users), name)
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
