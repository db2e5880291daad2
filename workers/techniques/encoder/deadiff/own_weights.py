"""What a module of the checkpoint has other than the base model's: kept beside it, never a second copy of the base.

Of weights that are the base's own nothing is kept; of those that are the base's in half precision, their names, as the
base model can be rounded while they are needed (only then is there a second tensor); only of the others, the tensors.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.techniques.encoder.deadiff import checkpoint as checkpoints
from workers.techniques.encoder.deadiff import math
from workers.techniques.encoder.deadiff.checkpoint import DeadiffCheckpoint


@dataclass(frozen=True, eq=False)
class Tuned:
    """How one module's weights become the checkpoint's: those that are rounded, and those that are replaced.

    `base` has the base model's own tensors of the replaced ones: what a request adds to them (a LoRA) is added to the
    checkpoint's too.
    """

    rounded: tuple[str, ...] = ()
    replaced: Mapping[str, Tensor] = field(default_factory=dict)
    base: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def changes(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return what makes the checkpoint's weight out of the base's, by name."""
        changes: dict[str, Callable[[Tensor], Tensor]] = dict.fromkeys(self.rounded, math.rounded)
        return changes | {name: partial(_instead, tensor, self.base[name]) for name, tensor in self.replaced.items()}


def _instead(tensor: Tensor, base: Tensor, own: Tensor) -> Tensor:
    return tensor if own.data_ptr() == base.data_ptr() else tensor + (own - base)


@dataclass(frozen=True, eq=False)
class OwnWeights:
    """The checkpoint's UNet and text encoder, as changes of the base model's."""

    unet: Tuned = Tuned()
    text: Tuned = Tuned()

    @contextmanager
    def in_text_encoder(self, backbone: Backbone) -> Iterator[None]:
        """Let prompts be encoded as the checkpoint does; nobody else may encode meanwhile."""
        with backbone.lock, patches.replaced(backbone.components["text_encoder"], self.text.changes):
            yield

    @contextmanager
    def in_unet(self, backbone: Backbone) -> Iterator[None]:
        """Denoise with the checkpoint's UNet."""
        with patches.replaced(backbone.denoiser, self.unet.changes):
            yield


def get_or_load(checkpoint: DeadiffCheckpoint, backbone: Backbone) -> OwnWeights:
    """Return what UNet and text encoder have of their own, found out on first use.

    Raises ModelUnusable, naming the key, when they are of another model.
    """

    def build() -> OwnWeights:
        return OwnWeights(
            unet=difference(backbone.denoiser, checkpoints.unet_tensors(checkpoint, backbone)),
            text=difference(backbone.components["text_encoder"], checkpoints.text_tensors(checkpoint, backbone)),
        )

    found: OwnWeights = backbone.get_or_load(f"{checkpoint.file} own weights", build)
    return found


@torch.no_grad()
def difference(module: nn.Module, theirs: Mapping[str, Tensor]) -> Tuned:
    """Return how a module's weights become `theirs`, by name, which may be stored in another precision."""
    rounded: list[str] = []
    replaced: dict[str, Tensor] = {}
    own = dict(module.named_parameters())
    for name, stored in theirs.items():
        tensor = stored.to(own[name].device)
        if math.is_own(own[name].data, tensor):
            continue
        if math.is_rounded(own[name].data, tensor):
            rounded.append(name)
        else:
            replaced[name] = tensor.to(own[name].dtype)
    return Tuned(tuple(rounded), replaced, {name: own[name].data for name in replaced})
