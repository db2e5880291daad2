"""For training pictures: the same content in another style, the other half of DEADiff's and CSGO's pairs."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.training.starter.dataset import CHUNK, draw_chunks
from workers.training.starter.recipe import StarterConfig
from workers.training.starter.split import HELD_OUT_INSTANCES, is_held_out
from workers.training.starter.workspace import Workspace
from workers.training.starter.world.picture import PictureSpec, draw

FLAT_SHARE = 0.4
"""Content pictures are flat more often than any other style: that is what the judged ones are."""


def counterpart(spec: PictureSpec, recipe: StarterConfig, seed: int) -> PictureSpec:
    """The picture of the same content in another style; of the pairs that training may see."""
    rng = np.random.default_rng([recipe.seed, seed, 0xC0])
    others = [s for s in recipe.styles if s != spec.style and not is_held_out(spec.object_name, s)]
    style = "flat" if "flat" in others and rng.uniform() < FLAT_SHARE else str(rng.choice(others))
    return replace(spec, style=style, style_seed=int(rng.integers(HELD_OUT_INSTANCES)))


def load_counterparts(space: Workspace, specs: list[PictureSpec]) -> NDArray[np.uint8]:
    """(n, 128, 128, 3) uint8, one for each picture of the training portion; draws the chunks that the cache lacks."""
    folder = space.folder / "pictures" / f"{space.training_portion().name}-counterparts"
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [(start, specs[start : start + CHUNK]) for start in range(0, len(specs), CHUNK)]
    missing = [chunk for chunk in chunks if not _is_drawn(folder, *chunk)]
    draw_chunks(partial(_write_chunk, space.recipe, folder), missing, space.workers)
    return np.concatenate([np.load(_file(folder, start), mmap_mode="r") for start, _ in chunks])


def _file(folder: Path, start: int) -> Path:
    return folder / f"{start // CHUNK}.npy"


def _is_drawn(folder: Path, start: int, specs: list[PictureSpec]) -> bool:
    path = _file(folder, start)
    return path.exists() and len(np.load(path, mmap_mode="r")) == len(specs)


def _write_chunk(recipe: StarterConfig, folder: Path, chunk: tuple[int, list[PictureSpec]]) -> None:
    start, specs = chunk
    wanted = [counterpart(spec, recipe, start + number) for number, spec in enumerate(specs)]
    unfinished = folder / f"{start // CHUNK}.partial.npy"
    np.save(unfinished, np.stack([draw(spec, recipe.placement) for spec in wanted]))
    unfinished.rename(_file(folder, start))
