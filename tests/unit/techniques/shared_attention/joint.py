"""The published formulation, written out plainly: the reference is entry 0 of one batch. Slow, and nothing is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workers.engine import schedulers
from workers.engine.backbones.stable_diffusion import StableDiffusion, unet_inputs
from workers.engine.conditioning import stack


def first(x: Tensor, halves: int) -> Tensor:
    """ref(x): every row's half's own first row."""
    b = len(x) // halves
    return torch.cat([x[h * b : h * b + 1].expand(b, *x.shape[1:]) for h in range(halves)])


def adain(x: Tensor, halves: int) -> Tensor:
    m, s = x.mean(-2, keepdim=True), (x.var(-2, keepdim=True) + 1e-5).sqrt()
    return (x - m) / s * first(s, halves) + first(m, halves)


class Joint:
    def __init__(self, halves: int, parameters: dict[str, Any]) -> None:
        self.halves, self.parameters = halves, parameters

    def __call__(self, attn: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        h, parameters = self.halves, self.parameters
        if parameters["full_attention_share"]:
            rows, tokens, width = x.shape
            together = x.reshape(h, rows // h * tokens, width)
            q, k, v = (self.split(attn, layer(together)) for layer in (attn.to_q, attn.to_k, attn.to_v))
            out = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v
            return attn.to_out[0](out.transpose(1, 2).reshape(rows, tokens, -1))
        q, k, v = (self.split(attn, layer(x)) for layer in (attn.to_q, attn.to_k, attn.to_v))
        q = adain(q, h) if parameters["adain_queries"] else q
        k = adain(k, h) if parameters["adain_keys"] else k
        v = adain(v, h) if parameters["adain_values"] else v
        shift = 0.0
        if parameters["share_attention"]:
            c = torch.full((len(x), 1, 1, 1), parameters["shared_score_scale"])
            c[:: len(x) // h] = 1
            n = k.shape[2]
            k, v = torch.cat([k, c * first(k, h)], 2), torch.cat([v, first(v, h)], 2)
            shift = (torch.arange(2 * n) >= n) * parameters["shared_score_shift"]
        out = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5 + shift, -1) @ v
        return attn.to_out[0](out.transpose(1, 2).flatten(2))

    @staticmethod
    def split(attn: Any, x: Tensor) -> Tensor:
        return x.unflatten(2, (attn.heads, -1)).transpose(1, 2)


@contextmanager
def installed(unet: Any, halves: int, parameters: dict[str, Any], plain: set[int]) -> Iterator[None]:
    layers = [unet.get_submodule(name.removesuffix(".processor")) for name in unet.attn_processors if "attn1" in name]
    chosen = [layer for i, layer in enumerate(layers) if i not in plain]
    before = [layer.processor for layer in chosen]
    norms = [m for m in unet.modules() if isinstance(m, nn.GroupNorm)] if parameters["share_group_norm"] else []
    for layer in chosen:
        layer.processor = Joint(halves, parameters)
    for norm in norms:
        norm.forward = lambda x, norm=norm: nn.GroupNorm.forward(norm, torch.cat([x, first(x, halves)], 2))[
            :, :, : x.shape[2]
        ]
    try:
        yield
    finally:
        for layer, processor in zip(chosen, before, strict=True):
            layer.processor = processor
        for norm in norms:
            del norm.forward


@torch.no_grad()
def generate(
    backbone: StableDiffusion,
    prompts: tuple[str, ...],
    latents: Tensor,
    *,
    steps: int,
    guidance: float,
    negative: str | None,
    size: tuple[int, int],
    parameters: dict[str, Any],
    plain: set[int] = frozenset(),  # type: ignore[assignment]
) -> Tensor:
    """Return the final latents of prompts, reference first, from latents (1 + n, ...)."""
    scheduler = schedulers.build("ddim", backbone.scheduler_config, steps)
    cond, uncond = backbone.condition(prompts, negative, guided=guidance > 1, width=size[0], height=size[1])
    sides = [cond] if uncond is None else [uncond, cond]
    with installed(backbone.denoiser, len(sides), parameters, plain):
        for t in scheduler.timesteps:
            e = backbone.denoiser(torch.cat([latents] * len(sides)), t, **unet_inputs(stack(sides)), return_dict=False)[
                0
            ]
            if uncond is not None:
                u, c = e.chunk(2)
                e = u + guidance * (c - u)
            latents = scheduler.step(e, t, latents, return_dict=False)[0]
    return latents
