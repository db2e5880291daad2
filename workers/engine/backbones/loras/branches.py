"""LoRAs as side branches of linear layers, y = W x + B A x: for models that are too large for a second copy of weights.

The weights stay as they are, whatever type they are stored in (8-bit storage is cast by the layer's own forward). All
LoRAs of a layer are one branch: their A below each other, their scaled B beside each other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from workers.engine.backbones import patches
from workers.engine.backbones.loras.file import Change

Scaled = tuple[Change, float]
WEIGHT = ".weight"


@contextmanager
def side_branches(
    module: nn.Module, changes: Mapping[str, Sequence[Scaled]], dtype: torch.dtype
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Run a module with changes of its weights, by their names; give what suspends them for a while.

    The branches are where the module is, in `dtype`, the one that it computes in.
    """
    device = next(module.parameters()).device
    layers = {module.get_submodule(name.removesuffix(WEIGHT)): of for name, of in changes.items()}
    branches = {layer: _branch(of, device, dtype) for layer, of in layers.items()}
    own: dict[nn.Module, Callable[[Tensor], Tensor]] = {layer: layer.forward for layer in layers}

    def replacement(layer: nn.Module) -> Callable[[Tensor], Tensor]:
        return partial(_forward, own[layer], *branches[layer])

    with patches.forward(layers, replacement):
        yield lambda: patches.forward(layers, own.__getitem__)


def _forward(own: Callable[[Tensor], Tensor], down: Tensor, up: Tensor, x: Tensor) -> Tensor:
    return own(x) + linear(linear(x, down), up)


def _branch(changes: Sequence[Scaled], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return A (ranks, in) and B (out, ranks) of all changes of a layer, each B times its scale, rounded once."""
    down = torch.cat([change.down.float() for change, _ in changes])
    up = torch.cat([change.up.float() * (change.scale * scale) for change, scale in changes], dim=1)
    return down.to(device, dtype), up.to(device, dtype)
