"""`python -m tests.studio.examples`: draw the page's example pictures anew, as the starter model's world draws them.

The style instances are among those that training never sees.
"""

import json
from pathlib import Path

from PIL import Image

from app.studio.page import STATIC
from workers.training.starter.split import HELD_OUT_INSTANCES
from workers.training.starter.world.picture import PictureSpec, draw

FOLDER = STATIC / "examples"
INDEX = FOLDER / "examples.json"
SIZE, SMALL = 256, 96
STYLES = {
    "Stained glass": PictureSpec("boat", 1003, "stainedglass", HELD_OUT_INSTANCES + 6),
    "Chalk": PictureSpec("tree", 1003, "chalk", HELD_OUT_INSTANCES + 6),
    "Neon": PictureSpec("fish", 1001, "neon", HELD_OUT_INSTANCES + 4),
    "Watercolour": PictureSpec("mushroom", 1003, "watercolour", HELD_OUT_INSTANCES + 6),
    "Oil": PictureSpec("heart", 1003, "oil", HELD_OUT_INSTANCES + 6),
    "Blueprint": PictureSpec("umbrella", 1003, "blueprint", HELD_OUT_INSTANCES + 6),
}
CONTENTS = {
    "House": PictureSpec("house", 1000, "flat", HELD_OUT_INSTANCES + 3),
    "Rocket": PictureSpec("rocket", 1005, "flat", HELD_OUT_INSTANCES + 8),
}


def main() -> None:
    """Write the pictures, each whole and small, and the list of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    known = json.loads(INDEX.read_text()) if INDEX.exists() else {"methods": {}}
    index = {
        "styles": [saved(name, spec) for name, spec in STYLES.items()],
        "contents": [saved(name, spec) for name, spec in CONTENTS.items()],
        "methods": known["methods"],
    }
    INDEX.write_text(json.dumps(index, indent=1) + "\n")


def saved(name: str, spec: PictureSpec) -> dict[str, str]:
    """Write one picture; return its entry in the list: name, file and thumbnail."""
    picture = Image.fromarray(draw(spec, size=SIZE))
    stem = name.lower().replace(" ", "-")
    save(picture, FOLDER / f"{stem}.webp")
    save(picture.resize((SMALL, SMALL), Image.Resampling.LANCZOS), FOLDER / f"{stem}-small.webp")
    return {"name": name, "file": f"{stem}.webp", "small": f"{stem}-small.webp"}


def save(picture: Image.Image, path: Path) -> None:
    """Write a WebP."""
    picture.save(path, "WEBP", quality=86, method=6)


if __name__ == "__main__":
    main()
