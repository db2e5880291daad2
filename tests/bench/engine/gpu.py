"""Time per image on a GPU: diffusers' own pipeline, ours, and each technique cold and warm, at the true sizes.

`python -m tests.bench.engine.gpu [--shapes sd15 sdxl] [--steps 30] [--batches 1 4 8]`: random weights in the
published shapes, built on the device in bfloat16, so nothing is downloaded. `--device cpu --shapes tiny-sd15` checks
the program itself.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from model_store import configs
from tests.support.tiny import models
from workers.contract.jobs.models import Progress, StylizeRequest
from workers.engine.backbones.load import load, wrap
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.technique import Pictures
from workers.techniques import registry

SIDES = {"sd15": 512, "sdxl": 1024, "tiny-sd15": 128, "tiny-sdxl": 128}
STEP_TFLOP = {"sd15": 1.607, "sdxl": 13.522}
"""Counted work of one guided UNet step of one picture (2 x multiply-adds)."""
METHODS = ("signal-leak", "style-aligned", "style-id")
PROMPT = "a house by a lake"
ROUNDS = 3


def config(shape: str, part: str) -> dict[str, Any]:
    return dict(json.loads((resources.files(configs) / shape / part / "config.json").read_text()))


def build(shape: str, device: torch.device, cache: Path) -> StableDiffusion:
    """The base model of a shape with random weights, on the device."""
    folder = models.build(cache, shape.removeprefix("tiny-"))
    if shape.startswith("tiny-"):
        return load(folder, name=shape, device=device)
    dtype, scheduler = torch.bfloat16, DDIMScheduler.from_pretrained(folder / "scheduler")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    with torch.device(device):
        unet = UNet2DConditionModel.from_config(config(shape, "unet")).to(dtype)
        vae = AutoencoderKL.from_config(config(shape, "vae"))
        text = CLIPTextModel(CLIPTextConfig(**config(shape, "text_encoder"))).to(dtype)
        if shape == "sdxl":
            second = CLIPTextModelWithProjection(CLIPTextConfig(**config(shape, "text_encoder_2"))).to(dtype)
    if shape == "sdxl":
        pipe = StableDiffusionXLPipeline(
            vae, text, second, tokenizer, tokenizer, unet, scheduler, add_watermarker=False
        )
    else:
        pipe = StableDiffusionPipeline(vae, text, tokenizer, unet, scheduler, None, None, requires_safety_checker=False)
    return wrap(pipe, name=shape, device=device, dtype=dtype, fingerprint=f"random-{shape}")


def roofline(device: torch.device) -> float:
    """Measured TFLOP/s of a large bfloat16 matrix product."""
    side = 8192 if device.type == "cuda" else 512
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    seconds = fastest(lambda: a @ a, device, rounds=10)
    return 2 * side**3 / seconds / 1e12


def fastest(work: Callable[[], object], device: torch.device, rounds: int = ROUNDS) -> float:
    """Median seconds after one unmeasured run."""
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def request(shape: str, method: str, steps: int, pictures: int, *, strength: float, guidance: float) -> StylizeRequest:
    side = SIDES[shape]
    return StylizeRequest(
        method=method,
        model=shape,
        prompt=PROMPT,
        seed=1,
        num_images=pictures,
        width=side,
        height=side,
        steps=steps,
        guidance_scale=guidance,
        strength=strength,
    )


def measure(shape: str, device: torch.device, steps: int, batches: list[int], cache: Path, top: float) -> None:
    backbone = build(shape, device, cache)
    tiers = [MemoryTier("device", 60_000_000_000, device)]

    def engine() -> DiffusionEngine:
        pool = BackboneCache(lambda _: backbone)
        return DiffusionEngine(
            pool=pool, cache=StyleCache(tiers), technique=registry.technique, weights=lambda _: cache
        )

    style = Image.linear_gradient("L").resize((SIDES[shape],) * 2).convert("RGB")

    def run(method: str, pictures: int, strength: float = 1.0) -> object:
        spec = registry.spec(method)
        guidance = spec.bases[backbone.base].guidance_scale
        content = style.rotate(90) if spec.inputs.content_image == "required" else None
        work = request(shape, method, steps, pictures, strength=strength, guidance=guidance)
        return engine().stylize(work, Pictures((style,), content), watch=ignore)

    def cold(method: str, pictures: int) -> object:
        for tier in tiers:
            tier.clear()
        return run(method, pictures)

    def diffusers(pictures: int) -> object:
        side = SIDES[shape]
        return backbone.pipe(PROMPT, num_images_per_prompt=pictures, num_inference_steps=steps, width=side, height=side)

    for pictures in batches:
        rows = {"diffusers": lambda n=pictures: diffusers(n), "plain": lambda n=pictures: run("signal-leak", n, 0.0)}
        for method in METHODS:
            rows[f"{method} cold"] = lambda n=pictures, m=method: cold(m, n)
            rows[f"{method} warm"] = lambda n=pictures, m=method: run(m, n)
        for label, work in rows.items():
            seconds = fastest(work, device) / pictures
            share = steps * STEP_TFLOP[shape] / seconds / top if shape in STEP_TFLOP else 0.0
            print(f"| {shape} | {pictures} | {label} | {seconds:.3f} | {share:.0%} |", flush=True)


def ignore(_: Progress) -> None:
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=sorted(SIDES), default=["sd15", "sdxl"])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--device", default="cuda")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing measured", file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    top = roofline(device)
    print(f"{name}: {top:.0f} TFLOP/s bfloat16 matrix product; {chosen.steps} steps\n")
    print("| shape | batch | what | seconds per image | share of the matrix roofline, by plain work |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="stylize-bench-") as cache:
        for shape in chosen.shapes:
            measure(shape, device, chosen.steps, chosen.batches, Path(cache), top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
