"""Our loop against diffusers' own pipeline: the same text, noise, scheduler and steps, interleaved in one run.

`python -m tests.bench.denoise [--rounds 15] [--steps 20]`, tiny models on one CPU thread. What is compared is the
whole way from text to latents, in CPU time of the process, which other programs on the machine disturb least.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler

from tests.parity.__main__ import CACHE
from tests.support.tiny import models
from workers.contract.spec import Params
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import denoise
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, PrepareContext, text_to_image

PROMPT = "an astronaut riding a horse"
GOAL = 1.0
SIDES = {"sd15": 64, "sdxl": 128}


def ours(backbone: StableDiffusion, pictures: int, steps: int) -> torch.Tensor:
    side = SIDES[backbone.base]
    seeds = tuple(range(pictures))
    inputs = GenerationInputs((PROMPT,) * pictures, seeds, side, side, steps, 7.5, Params(), SeededNoise(seeds))
    context = PrepareContext(backbone, RequestCache(StyleCache([MemoryTier("host", 0)])), weights=lambda name: CACHE)
    trajectory = text_to_image(inputs, context)
    denoise(backbone.predict, [trajectory])
    return trajectory.latents


def theirs(backbone: StableDiffusion, pictures: int, steps: int) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in range(pictures)]
    backbone.pipe.scheduler = DDIMScheduler.from_config(backbone.pipe.scheduler.config)
    return backbone.pipe(
        PROMPT,
        num_images_per_prompt=pictures,
        num_inference_steps=steps,
        guidance_scale=7.5,
        width=SIDES[backbone.base],
        height=SIDES[backbone.base],
        generator=generators,
        output_type="latent",
    ).images


def timed(work: Callable[[], torch.Tensor]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(backbone: StableDiffusion, pictures: int, steps: int, rounds: int) -> float:
    """Print and return the ratio of the fastest runs; runs alternate. What disturbs a run only ever makes it slower."""
    works = (lambda: ours(backbone, pictures, steps), lambda: theirs(backbone, pictures, steps))
    torch.testing.assert_close(works[0](), works[1](), rtol=0, atol=1e-3)
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * rounds):
        which = (number // 2 + number) % 2
        seconds[which].append(timed(works[which]))
    fastest, usual = ([pick(column) * 1000 for column in seconds] for pick in (min, statistics.median))
    ratio = fastest[0] / fastest[1]
    print(
        f"{backbone.name} batch {pictures}: ours {fastest[0]:.0f} ms, diffusers {fastest[1]:.0f} ms, ratio {ratio:.3f} "
        f"(goal <= {GOAL:.2f}); medians {usual[0]:.0f} and {usual[1]:.0f} ms",
        flush=True,
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    ratios = []
    for name in SIDES:
        backbone = load(models.build(CACHE / "tiny-models", name))
        ratios += [compare(backbone, pictures, chosen.steps, chosen.rounds) for pictures in (1, 4)]
    return 0 if max(ratios) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
