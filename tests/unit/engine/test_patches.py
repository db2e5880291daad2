"""Patches restore a model exactly: values, order, hooks; also after exceptions and nested."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from workers.engine.backbones import patches
from workers.engine.backbones.stable_diffusion import StableDiffusion


class Weighted(nn.Module):
    """An attention processor with weights, as adapters have them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return AttnProcessor()(attn, hidden_states, *args, **kwargs)


def portrait(unet: nn.Module) -> list[Any]:
    """Everything a patch may touch: identities and orders of attributes, modules, weights, hooks, configuration."""
    seen: list[Any] = [id(unet._internal_dict)]
    for name, module in unet.named_modules():
        seen.append((name, id(module), type(module)))
        seen.append([(key, id(value)) for key, value in vars(module).items() if not isinstance(value, dict)])
        seen.append([(key, id(value)) for key, value in module._modules.items()])
        seen.append((list(module._forward_hooks), list(module._forward_pre_hooks)))
    seen.extend((name, weight.data_ptr(), float(weight.detach().sum())) for name, weight in unet.named_parameters())
    return seen


def some_patches(unet: Any) -> list[Callable[[], AbstractContextManager[None]]]:
    names = list(unet.attn_processors)
    norms = [module for module in unet.modules() if isinstance(module, nn.GroupNorm)]
    layer = unet.get_submodule(names[0].removesuffix(".processor"))
    return [
        lambda: patches.attention_processors(unet, {name: AttnProcessor() for name in names[::2]}),
        lambda: patches.attention_processors(unet, {name: Weighted() for name in names[1::2]}),
        lambda: patches.attribute(unet, "encoder_hid_proj", nn.Linear(2, 2)),
        lambda: patches.attribute(layer, "never_seen", 5),
        lambda: patches.attribute(layer, "heads", 2),
        lambda: patches.attribute(unet, "conv_out", nn.Identity()),
        lambda: patches.config(unet, encoder_hid_dim_type="ip_image_proj"),
        lambda: patches.weights(unet, {"conv_in.weight": torch.ones_like(unet.conv_in.weight)}),
        lambda: patches.forward(norms, lambda norm: lambda x: x),
        lambda: patches.forward_hook(unet, lambda *args: None),
        lambda: patches.forward_hook(unet, lambda *args: None, before=True),
    ]


@pytest.mark.parametrize("number", range(11))
def test_each_restores_exactly_after_an_exception(backbone: StableDiffusion, number: int) -> None:
    before = portrait(backbone.denoiser)
    with pytest.raises(InterruptedError), some_patches(backbone.denoiser)[number]():
        assert portrait(backbone.denoiser) != before
        raise InterruptedError
    assert portrait(backbone.denoiser) == before


def test_any_nesting_restores_exactly(sd15: StableDiffusion) -> None:
    before, dice = portrait(sd15.denoiser), random.Random(1)
    for _ in range(30):
        with ExitStack() as stack:
            for make in dice.choices(some_patches(sd15.denoiser), k=4):
                stack.enter_context(make())
        assert portrait(sd15.denoiser) == before


def test_an_unknown_layer_changes_nothing(sd15: StableDiffusion) -> None:
    before = portrait(sd15.denoiser)
    known = next(iter(sd15.denoiser.attn_processors))
    with (
        pytest.raises(KeyError),
        patches.attention_processors(sd15.denoiser, {known: AttnProcessor(), "no": AttnProcessor()}),
    ):
        pass
    assert portrait(sd15.denoiser) == before


def test_a_patched_layer_computes_with_the_patch(sd15: StableDiffusion) -> None:
    name = next(iter(sd15.denoiser.attn_processors))
    calls: list[int] = []

    class Counting(AttnProcessor):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return super().__call__(*args, **kwargs)

    with patches.attention_processors(sd15.denoiser, {name: Counting()}), torch.no_grad():
        sd15.denoiser(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 77, 32))
    assert calls == [1]
