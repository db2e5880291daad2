"""The Lua scripts that move jobs between states; each runs atomically inside Redis.

`shared.lua` is put before every other file: key names, the clock and the moves that the verbs share. Scripts that learn
or tell how long jobs take get `estimate.lua` as well, those that let something in `admission.lua`.
"""

from importlib.resources import files

NAMES = (
    *("submit", "admit", "claim", "beat", "finish", "cancel"),
    *("sweep", "page", "queue_estimate", "queue_stats", "workers"),
)
ESTIMATING = ("submit", "finish", "queue_estimate")
ADMITTING = ("submit", "admit", "style", "inputs")


def source(name: str) -> str:
    """Return the text of the script `name`, the shared part before it."""
    folder = files(__name__)
    wanted = {"shared": True, "admission": name in ADMITTING, "estimate": name in ESTIMATING}
    parts = (*(part for part, needed in wanted.items() if needed), name)
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
