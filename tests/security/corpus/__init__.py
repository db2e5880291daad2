"""Hostile pictures, the same in every run: what their headers say is untrue, or their bytes are damaged or foreign.

Each is of a family, whose pictures may be answered with one of the family's statuses.
"""

from tests.security.corpus import damage, foreign, jpeg, png, webp

CORPUS: dict[str, dict[str, bytes]] = {
    "png sizes": png.sizes(),
    "png headers": png.headers(),
    "png chunks": png.chunks(),
    "png bombs": png.bombs(),
    "png metadata bombs": png.metadata_bombs(),
    "jpeg sizes": jpeg.sizes(),
    "jpeg segments": jpeg.segments(),
    "jpeg exif": jpeg.exifs(),
    "webp chunks": webp.chunks(),
    "webp sizes": webp.sizes(),
    "cut": damage.cut(),
    "continued": damage.continued(),
    "exchanged": damage.exchanged(),
    "broken": damage.broken(),
    "foreign": foreign.files(),
}
"""Families of pictures by name."""

REFUSED = ("png sizes", "jpeg sizes", "webp sizes", "png bombs", "exchanged", "broken")
STATUSES = {
    **dict.fromkeys(CORPUS, frozenset({202, 422})),
    **dict.fromkeys(REFUSED, frozenset({422})),
    "png metadata bombs": frozenset({202}),
    "foreign": frozenset({415}),
}
