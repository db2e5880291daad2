"""Hostile pictures, the same in every run: what their headers say is untrue, or their bytes are damaged or foreign.

Each is of a family; `REFUSED` names the families of which no picture may be accepted.
"""

from tests.security.corpus import damage, foreign, jpeg, png, webp

CORPUS: dict[str, dict[str, bytes]] = {
    "png sizes": png.sizes(),
    "png headers": png.headers(),
    "png chunks": png.chunks(),
    "png bombs": png.bombs(),
    "jpeg sizes": jpeg.sizes(),
    "jpeg segments": jpeg.segments(),
    "jpeg exif": jpeg.exifs(),
    "webp chunks": webp.chunks(),
    "webp sizes": webp.sizes(),
    "cut": damage.cut(),
    "continued": damage.continued(),
    "exchanged": damage.exchanged(),
    "foreign": foreign.files(),
}
"""Families of pictures by name."""

REFUSED = frozenset({"png sizes", "jpeg sizes", "webp sizes", "png bombs", "exchanged", "foreign"})
