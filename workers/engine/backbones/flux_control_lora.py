"""A control LoRA in the authors' layout as side branches of FLUX: y = W x + b + s (B A x + b_B), norms replaced.

diffusers' loader exchanges the halves of `norm_out` in A, too, and takes no quantised base; branches need neither, and
the weights are untouched. The map's latents are read beside the noisy ones: W of the first layer has no columns for
them, so it reads its own part. Queries, keys, values and the MLP of a block share one A, which runs once.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear

from model_store.load.flux_names import BLOCK, BLOCKS, EXCHANGED, diffusers_layers, exchanged
from workers.engine.backbones import patches
from workers.engine.backbones.flux import Flux
from workers.engine.errors import ModelUnusable

NORMS = {
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}


@dataclass(eq=False)
class LastDown:
    """The A x that ran last: the parts of one layer of the authors' follow each other, on the same tensor."""

    weight: Tensor | None = None
    x: Tensor | None = None
    output: Tensor | None = None

    def run(self, weight: Tensor, x: Tensor) -> Tensor:
        """Return A x, the one of before if it is the same."""
        if self.output is None or self.weight is not weight or self.x is not x:
            self.weight, self.x, self.output = weight, x, linear(x, weight)
        return self.output

    def forget(self) -> None:
        """Let go of the tensors."""
        self.weight = self.x = self.output = None


@dataclass(frozen=True)
class Branch:
    """What is added to one linear layer: its part of B and of B's bias, behind an A that it may share."""

    down: Tensor
    up: Tensor
    bias: Tensor


@dataclass(frozen=True)
class ControlLora:
    """Branches by the names of diffusers' layers, and the norms' scales that stand in place of the model's."""

    branches: Mapping[str, Branch]
    norms: Mapping[str, Tensor]


def read_control_lora(path: Path, backbone: Flux) -> ControlLora:
    """Return a control LoRA for a model, on its device. Raises ModelUnusable naming a key that is missing or unfit."""
    tensors = {name: tensor.to(backbone.device, backbone.dtype) for name, tensor in load_file(path).items()}
    branches: dict[str, Branch] = {}
    norms: dict[str, Tensor] = {}
    try:
        for key in sorted(name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")):
            branches |= _branches(key, tensors, backbone.denoiser)
        for key in (name.removesuffix(".scale") for name in tensors if name.endswith(".scale")):
            norms |= _norm(key, tensors[f"{key}.scale"], backbone.denoiser)
    except (KeyError, AttributeError, RuntimeError, ValueError) as unfit:
        raise ModelUnusable(f"{path} is no control LoRA of {backbone.name}: {unfit}") from unfit
    return ControlLora(branches, norms)


def _branches(key: str, tensors: Mapping[str, Tensor], model: Any) -> dict[str, Branch]:
    names = diffusers_layers(key)
    down = tensors[f"{key}.lora_A.weight"]
    sizes = [model.get_submodule(name).out_features for name in names]
    ups = tensors[f"{key}.lora_B.weight"].split(sizes)
    biases = tensors[f"{key}.lora_B.bias"].split(sizes)
    found = {name: Branch(down, up, bias) for name, up, bias in zip(names, ups, biases, strict=True)}
    if EXCHANGED in found:
        branch = found[EXCHANGED]
        found[EXCHANGED] = Branch(down, exchanged(branch.up), exchanged(branch.bias))
    return found


def _norm(key: str, scale: Tensor, model: Any) -> dict[str, Tensor]:
    if (block := BLOCK.fullmatch(key)) is None:
        raise KeyError(key)
    kind, number, part = block.groups()
    name = f"{BLOCKS[kind]}.{number}.{NORMS[part]}.weight"
    if model.get_parameter(name).shape != scale.shape:
        raise ValueError(f"{key}: {tuple(scale.shape)} does not fit {name}")
    return {name: scale}


@contextmanager
def control_branches(backbone: Flux, lora: ControlLora, scale: float) -> Iterator[None]:
    """Run the model with the branches at a scale and the LoRA's norms; the weights stay the very same."""
    last = LastDown()
    layers = {backbone.denoiser.get_submodule(name): branch for name, branch in lora.branches.items()}

    def replacement(module: nn.Module) -> Callable[[Tensor], Tensor]:
        branch, own = layers[module], module.forward  # the layer's own, or what casts, or a LoRA of the request

        def forward(x: Tensor) -> Tensor:
            kept = own(x[..., : module.in_features])
            added = linear(last.run(branch.down, x), branch.up, branch.bias)
            return kept + scale * added

        return forward

    def replaced(norm: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda own: norm.to(own)

    with ExitStack() as undone:
        undone.enter_context(
            patches.replaced(backbone.denoiser, {name: replaced(norm) for name, norm in lora.norms.items()})
        )
        undone.enter_context(patches.forward(layers, replacement))
        undone.callback(last.forget)
        yield
