"""The LoRAs of a request, in a warm model for as long as it runs.

A UNet's weights are other tensors meanwhile, so nothing of the model's structure changes and no step costs more; after,
the very tensors of before come back. A transformer has no room for them: it gets side branches. The model's fingerprint
is another one too: what is cached with LoRAs is found only with the same LoRAs at the same scales. What is built beside
the base model is built from the weights as loaded.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from model_store.catalogue.entry import Base
from model_store.load.lora import PARTS
from workers.contract.spec import Lora as Asked
from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.loras import file as lora_file
from workers.engine.backbones.loras.branches import Scaled, side_branches
from workers.engine.backbones.loras.file import LoraWeights

Finder = Callable[[str, Base], Path]
"""Returns the folder of an installed LoRA for an architecture, by its id, or raises WeightsMissing or Refused."""
Suspend = Callable[[], AbstractContextManager[None]]
"""Returns a context in which the changes of a module are not there."""

KEPT = 8
"""LoRAs remembered beside a base model; in memory they are pages of their files."""


class LoraCache:
    """The LoRAs used last, by the fingerprint of their files."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, LoraWeights] = OrderedDict()

    def get(self, folder: Path, backbone: Backbone) -> LoraWeights:
        """Return the LoRA in a folder, read when it is not here. Raises as `lora_file.read`."""
        name = lora_file.fingerprint(folder)
        found = self._kept.pop(name, None) or lora_file.read(folder, backbone)
        self._kept[name] = found
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found


@contextmanager
def apply_loras(backbone: Backbone, asked: Sequence[Asked], find: Finder) -> Iterator[None]:
    """Run the model with LoRAs added to its denoiser and text encoders, and restore it exactly.

    Raises WeightsMissing for an unknown id, Refused for what does not fit the model; then nothing was changed.
    """
    if not asked:
        yield
        return
    cache: LoraCache = backbone.get_or_load("loras", LoraCache)
    loaded = [(cache.get(find(one.id, backbone.base), backbone), one.scale) for one in asked]
    seen = hashlib.sha256(
        "\n".join([backbone.fingerprint, *(f"{each.fingerprint} {s}" for each, s in loaded)]).encode()
    )
    with ExitStack() as stack:
        changed = {part: changes for part in PARTS if (changes := _by_weight(part, loaded))}
        suspend = [
            stack.enter_context(_changed(backbone, backbone.components[part], changes))
            for part, changes in changed.items()
        ]
        stack.enter_context(
            patches.attribute(
                backbone, "with_original_weights", partial(_undone, backbone, backbone.fingerprint, suspend)
            )
        )
        stack.enter_context(patches.attribute(backbone, "fingerprint", seen.hexdigest()))
        yield


def _changed(
    backbone: Backbone, module: nn.Module, changes: Mapping[str, Sequence[Scaled]]
) -> AbstractContextManager[Suspend]:
    """Run a part of the model with changes of its weights, in the way that suits the model."""
    if backbone.loras_as_branches:
        return side_branches(module, changes, backbone.dtype)
    return _merged(module, changes)


def _by_weight(part: str, loaded: Sequence[tuple[LoraWeights, float]]) -> Mapping[str, list[Scaled]]:
    """Return what each weight of a part gets of all LoRAs; those of scale 0 change nothing."""
    changes: dict[str, list[Scaled]] = {}
    for each, scale in loaded:
        for name, change in each.changes.get(part, {}).items() if scale else ():
            changes.setdefault(name, []).append((change, scale))
    return changes


@contextmanager
def _merged(module: nn.Module, changes: Mapping[str, Sequence[Scaled]]) -> Iterator[Suspend]:
    """Give a module weights with the changes in them."""
    parameters = dict(module.named_parameters())
    originals = [(parameters[name], parameters[name].data) for name in changes]
    with patches.replaced(module, {name: partial(_sum, of) for name, of in changes.items()}):
        yield partial(_with, originals)


@torch.no_grad()
def _sum(changes: Sequence[Scaled], own: Tensor) -> Tensor:
    """Return a weight with all changes added in float32, rounded once."""
    exact = own.float()
    for change, scale in changes:
        exact = change.added_to(exact, scale)
    return exact.to(own.dtype)


@contextmanager
def _with(originals: Sequence[tuple[nn.Parameter, Tensor]]) -> Iterator[None]:
    """Give parameters their own tensors back for a while, whatever they were replaced by since."""
    replaced = [parameter.data for parameter, _ in originals]
    try:
        for parameter, own in originals:
            parameter.data = own
        yield
    finally:
        for (parameter, _), data in zip(originals, replaced, strict=True):
            parameter.data = data


@contextmanager
def _undone(backbone: Backbone, fingerprint: str, suspend: Sequence[Suspend]) -> Iterator[None]:
    """Let the model run as it was loaded for a while."""
    with ExitStack() as stack:
        for suspended in suspend:
            stack.enter_context(suspended())
        stack.enter_context(patches.attribute(backbone, "fingerprint", fingerprint))
        yield
