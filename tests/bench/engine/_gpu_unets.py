"""Rows of the GPU benchmark for SD1.5 and SDXL: diffusers' pipeline, ours, and methods cold and warm."""

import json
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
from tests.bench.engine._gpu_run import PROMPT, Bench, Rows
from tests.support.tiny import models
from workers.engine.backbones.load import load, wrap
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.technique import Pictures
from workers.techniques import registry

SIDES = {"sd15": 512, "sdxl": 1024, "tiny-sd15": 128, "tiny-sdxl": 128}
STEP_TFLOP = {"sd15": 1.607, "sdxl": 13.522}
"""Counted work of one guided UNet step of one picture (2 x multiply-adds)."""
METHODS = ("signal-leak", "style-aligned", "style-id")


def config(shape: str, part: str) -> dict[str, Any]:
    return dict(json.loads((resources.files(configs) / shape / part / "config.json").read_text()))


def build(shape: str, device: torch.device, cache: Path) -> PipelineBackbone:
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


def rows(shape: str, bench: Bench, steps: int, count: int) -> Rows:
    """Return the rows of a shape with `count` pictures a request."""
    side = SIDES[shape]
    style = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    size = {"width": side, "height": side, "steps": steps, "num_images": count}

    def diffusers() -> object:
        latents = bench.backbone.pipe(
            PROMPT,
            num_images_per_prompt=count,
            num_inference_steps=steps,
            width=side,
            height=side,
            output_type="latent",
        ).images
        return bench.decoded(latents)

    def pictures(method: str) -> Pictures:
        content = style.rotate(90) if registry.spec(method).inputs.content_image == "required" else None
        return Pictures((style,), content)

    found: Rows = {
        "diffusers": diffusers,
        "plain": lambda: bench.run("signal-leak", pictures("signal-leak"), **size, strength=0.0),
    }
    for method in METHODS:
        found[f"{method} cold"] = lambda m=method: bench.cold(m, pictures(m), **size)
        found[f"{method} warm"] = lambda m=method: bench.run(m, pictures(m), **size)
    return found
