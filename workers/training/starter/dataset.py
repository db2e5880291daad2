"""Pictures with their labels, drawn once and kept in chunks on disk.

Pictures come in pairs: 2k and 2k + 1 share the style instance and show different objects. A chunk depends only on its
own number and the recipe, so the data do not depend on how many processes drew it.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from workers.training.starter.split import HELD_OUT_INSTANCES, is_held_out
from workers.training.starter.world.palette import COLOUR_WORDS
from workers.training.starter.world.picture import PictureSpec, draw
from workers.training.starter.world.scene import Placement

Chunk = TypeVar("Chunk")

CHUNK = 512
WORLD_VERSION = 2


@dataclass(frozen=True)
class Portion:
    """A part of the world to draw: object-style pairs on either side of the split, or all; style instances likewise."""

    objects: tuple[str, ...]
    styles: tuple[str, ...]
    placement: Placement
    pictures: int
    colour_share: float = 0.0
    pairs: Literal["trained", "unseen", "all"] = "trained"
    unseen_instances: bool = False
    seed: int = 20

    @property
    def name(self) -> str:
        """Folder name: a digest of everything but the number of pictures."""
        facts = asdict(self) | {"pictures": None, "version": WORLD_VERSION}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PictureSet:
    """`images` (n, 128, 128, 3) uint8 with the specification of each."""

    images: NDArray[np.uint8]
    specs: list[PictureSpec]

    def __len__(self) -> int:
        return len(self.specs)


def load_pictures(portion: Portion, cache: Path, workers: int = 1) -> PictureSet:
    """The portion's pictures, drawing the chunks that the cache lacks."""
    folder = cache / portion.name
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-portion.pictures // CHUNK)
    missing = [index for index in range(count) if not (folder / f"{index}.json").exists()]
    draw_chunks(partial(_write_chunk, portion, folder), missing, workers)
    images = np.concatenate([np.load(folder / f"{index}.npy", mmap_mode="r") for index in range(count)])
    rows = [row for index in range(count) for row in json.loads((folder / f"{index}.json").read_text())]
    return PictureSet(images[: portion.pictures], [PictureSpec(**row) for row in rows[: portion.pictures]])


def draw_chunks(write: Callable[[Chunk], None], missing: Sequence[Chunk], workers: int) -> None:
    """Write each missing chunk, in several processes if there are `workers`; shows how far it is."""
    if not missing:
        return
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        written = pool.map(write, missing) if pool else map(write, missing)
        for _ in tqdm(written, total=len(missing), desc="drawing", unit="chunk"):
            continue


def _write_chunk(portion: Portion, folder: Path, index: int) -> None:
    specs = chunk_specs(portion, index)
    np.save(folder / f"{index}.npy", np.stack([draw(spec, portion.placement) for spec in specs]))
    partial_file = folder / f"{index}.json.partial"
    partial_file.write_text(json.dumps([asdict(spec) for spec in specs]))
    partial_file.rename(folder / f"{index}.json")


def chunk_specs(portion: Portion, index: int) -> list[PictureSpec]:
    """The specifications of one chunk, from its number alone."""
    rng = np.random.default_rng([portion.seed, index, len(portion.pairs), int(portion.unseen_instances)])
    lowest = HELD_OUT_INSTANCES if portion.unseen_instances else 0
    specs: list[PictureSpec] = []
    while len(specs) < CHUNK:
        style = str(rng.choice(portion.styles))
        names = [name for name in portion.objects if _belongs(name, style, portion)]
        if not names:
            continue
        style_seed = lowest + int(rng.integers(HELD_OUT_INSTANCES))
        chosen = rng.choice(names, 2, replace=len(names) < 2)
        for name in chosen:
            colour = str(rng.choice(list(COLOUR_WORDS))) if rng.uniform() < portion.colour_share else ""
            specs.append(PictureSpec(str(name), int(rng.integers(2**31)), style, style_seed, colour))
    return specs


def _belongs(name: str, style: str, portion: Portion) -> bool:
    return portion.pairs == "all" or is_held_out(name, style) is (portion.pairs == "unseen")
