"""A LoRA from its file: what it adds to which weights, whatever tool named its tensors. Nothing is changed here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from model_store.errors import ModelStoreError, WrongKeys
from model_store.load.lora import WEIGHTS, Halves, read_lora
from workers.engine.backbones.base import Backbone
from workers.engine.errors import ModelUnusable, Refused


@dataclass(frozen=True, eq=False)
class Change:
    """What one weight gets: `up @ down` in float32 times `scale`, in the weight's shape."""

    down: Tensor
    up: Tensor
    scale: float

    def added_to(self, own: Tensor, scale: float) -> Tensor:
        """Return a float32 weight with the change, times `scale`, added."""
        up, down = (half.to(own.device, own.dtype).flatten(1) for half in (self.up, self.down))
        return own + (scale * self.scale) * (up @ down).view_as(own)


@dataclass(frozen=True, eq=False)
class LoraWeights:
    """A loaded LoRA: its changes by part of the pipeline and name of the parameter. `fingerprint` is for cache keys."""

    changes: Mapping[str, Mapping[str, Change]]
    fingerprint: str


def fingerprint(folder: Path) -> str:
    """Return a name for the content of a LoRA's folder. Raises ModelUnusable when it holds none."""
    try:
        facts = (folder / WEIGHTS).stat()
    except OSError as missing:
        raise ModelUnusable(f"{folder} holds no LoRA: {missing}") from missing
    return f"{folder}:{facts.st_size}:{facts.st_mtime_ns}"


def read(folder: Path, backbone: Backbone) -> LoraWeights:
    """Return the LoRA in a folder of the store, with tensor names of any of the tools that `read_lora` knows.

    Raises ModelUnusable when the file cannot be read, Refused, naming the tensor, when it was made for another model.
    """
    name = fingerprint(folder)
    try:
        halves = read_lora(folder / WEIGHTS, backbone.base, backbone.denoiser.config)
    except WrongKeys as unknown:
        raise Refused(f"the LoRA {folder.name} has names or values that are not known: {unknown}") from unknown
    except (ModelStoreError, OSError) as broken:
        raise ModelUnusable(f"{folder / WEIGHTS} cannot be loaded: {broken}") from broken
    return LoraWeights({part: dict(_changes(layers, part, backbone)) for part, layers in halves.items()}, name)


def _changes(layers: Mapping[str, Halves], part: str, backbone: Backbone) -> Iterator[tuple[str, Change]]:
    """Yield the changes of one part of the pipeline by the names of its parameters."""
    if not layers:
        return
    module = backbone.components.get(part)
    if module is None:
        raise Refused(f"the LoRA changes {part}, which {backbone.name} has not: it was made for another base model")
    prefixed = module is backbone.denoiser or hasattr(module, "text_model")
    shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
    for layer, halves in layers.items():
        weight = (layer if prefixed else layer.removeprefix("text_model.")) + ".weight"
        if weight not in shapes or (halves.up.shape[0], halves.down[0].numel()) != _matrix(shapes[weight]):
            raise Refused(f"the LoRA does not fit {backbone.name}: {part} has no weight {weight} of its shape")
        yield weight, Change(halves.down, halves.up, halves.scale)


def _matrix(shape: Any) -> tuple[int, int]:
    """Return rows and columns of a weight, a convolution's flattened."""
    return shape[0], shape[1:].numel()
