"""Orders and stores for the tests of csgo."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.parity.converted import converted
from tests.support.techniques.encoder_samples import inputs, picture
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.errors import WeightsMissing
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext
from workers.techniques.encoder.csgo import network
from workers.techniques.encoder.csgo.network import Network
from workers.techniques.encoder.csgo.spec import CSGOParams

WEIGHTS = Path(__file__).parents[2] / "parity" / "cases" / "csgo" / "weights"
PUBLISHED = WEIGHTS / "csgo_4_32.bin"
Installed = Callable[[str], Path]
Stored = dict[str, dict[str, Tensor]]


@cache
def checkpoint() -> Path:
    """Return the tiny checkpoint as a pull leaves it."""
    return converted(PUBLISHED, "csgo")


def store(tiny_root: Path, other: Path | None = None) -> Installed:
    """Return a store in which the tiny weights, or another checkpoint, are installed under the published ids."""
    files = {
        "csgo": other or checkpoint(),
        network.CONTROLNET: WEIGHTS / "controlnet",
        network.IMAGE_ENCODER: tiny_root / "clip-vision",
    }

    def weights(model: str) -> Path:
        if model not in files:
            raise WeightsMissing(model)
        return files[model]

    return weights


def stored() -> Stored:
    """Return the checkpoint's parts, to be changed and saved."""
    parts: Stored = {}
    for name, tensor in load_file(checkpoint()).items():
        part, _, key = name.partition(".")
        parts.setdefault(part, {})[key] = tensor
    return parts


def saved(changed: Stored, folder: Path) -> Path:
    path = folder / "csgo.safetensors"
    save_file({f"{part}.{name}": t for part, tensors in changed.items() for name, t in tensors.items()}, path)
    return path


def asked(
    params: CSGOParams | None = None,
    *,
    style: int = 0,
    content: int | None = 7,
    size: tuple[int, int] = (64, 64),
    **more: Any,
) -> GenerationInputs:
    shown = None if content is None else picture(content, size)
    more.setdefault("noise", SeededNoise(more.get("seeds", (3,))))
    return inputs(params or CSGOParams(), pictures=Pictures((picture(style),), shown), **more)


def own(context: PrepareContext) -> Network:
    return network.get_or_load(network.csgo_files(32, context), context.backbone)


def without_residents(backbone: StableDiffusion) -> StableDiffusion:
    """Return the same base model with nothing beside it."""
    return StableDiffusion(
        backbone.pipe,
        name=backbone.name,
        base=backbone.base,
        fingerprint=backbone.fingerprint,
        dtype=backbone.dtype,
    )
