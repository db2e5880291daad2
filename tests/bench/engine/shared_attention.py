"""Shared attention on a mid-size random UNet: the reference recomputed beside each picture against the cached one.

Rounds are interleaved; each figure is the best of them. Plain text-to-image on the same UNet is timed, too.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from tests.parity.__main__ import CACHE, ROOT
from tests.parity.lab import data_root
from workers.engine.backbones.load import load, wrap
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import denoise
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.shared_attention.style_aligned.spec import StyleAlignedParams
from workers.techniques.shared_attention.style_aligned.technique import TECHNIQUE

ROUNDS, STEPS, SIDE = 5, 4, 256
GOAL = 1.6


def mid(tiny: Path) -> StableDiffusion:
    """SD1.5's module tree and head sizes, a quarter as wide, with the tiny model's text and latents."""
    base = load(tiny / "sd15")
    torch.manual_seed(1)
    unet = UNet2DConditionModel.from_config(
        {**base.denoiser.config, "block_out_channels": (80, 160, 320, 320), "attention_head_dim": 2, "sample_size": 32}
    )
    pipe = StableDiffusionPipeline(**base.pipe.components | {"unet": unet}, requires_safety_checker=False)
    return wrap(pipe, name="mid", device=base.device, dtype=base.dtype, fingerprint="mid")


def seconds(inputs: GenerationInputs, context: PrepareContext) -> float:
    """Time the denoising; what is prepared before does not count."""
    with torch.no_grad():
        trajectory = TECHNIQUE.prepare(inputs, context)
        began = time.perf_counter()
        with TECHNIQUE.patch(context.backbone, [trajectory]) as hooks:
            denoise(context.backbone.predict, [trajectory], hooks=hooks)
        return time.perf_counter() - began


def main() -> int:
    torch.set_num_threads(1)
    model = mid(data_root(ROOT / ".." / "shared", CACHE) / "tiny-models")
    styled = GenerationInputs(
        prompts=("a dog. minimal origami",),
        seeds=(1,),
        width=SIDE,
        height=SIDE,
        steps=STEPS,
        guidance_scale=7.5,
        params=StyleAlignedParams(reference_prompt="a cat. minimal origami"),
        noise=SeededNoise((1,)),
    )
    cached, recomputed = (
        PrepareContext(model, RequestCache(StyleCache([MemoryTier("host", size)])), Path) for size in (1 << 32, 0)
    )
    cases = {
        "plain": (replace(styled, strength=0.0), cached),
        "cached": (styled, cached),
        "recomputed": (styled, recomputed),
    }
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(ROUNDS):
        for name, case in cases.items():
            best[name] = min(best[name], seconds(*case))
    per_step = ", ".join(f"{name} {took / STEPS * 1e3:.0f} ms" for name, took in best.items())
    ratio = best["recomputed"] / best["cached"]
    print(f"per step, {SIDE} px, 1 picture, best of {ROUNDS}: {per_step}")
    print(f"cached / plain: {best['cached'] / best['plain']:.2f}x; recomputed / cached: {ratio:.2f}x (goal >= {GOAL}x)")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
