"""Rows of the GPU benchmark for FLUX: dev in 28 steps (plain, Redux, Fill, control LoRA), FLUX.2 [klein] 4B in 4.

Weights are random, of the published shapes; those of Redux and of the LoRA are zeros: the work is the same. The prompt
is encoded before, as it is for every further job with the same one; the style is always new.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, Flux2Transformer2DModel, FluxTransformer2DModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, Qwen3Config, SiglipImageProcessorPil, T5Config, T5EncoderModel

from model_store.load.qwen3 import Qwen3TextLayers
from tests.bench.engine._gpu_run import PROMPT, Bench, Rows
from tests.support.published import flux as published
from tests.support.published import flux2 as published2
from tests.support.tiny import models
from workers.engine.backbones.load import ARCHITECTURES, load, wrap
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.technique import Pictures

SIDE, TINY_SIDE = 1024, 64
STEPS = {"flux": 28, "flux-fill": 28, "flux2-klein": 4}
STEP_TFLOP = {"flux": 74.38, "flux-fill": 74.42, "flux2-klein": 34.8}
"""Counted work of one call of the transformer for one picture (2 x multiply-adds) with 512 tokens of text."""
FORMS = {"flux": "flux1-dev", "flux-fill": "flux1-fill"}
PIPELINES = {"flux": "FluxPipeline", "flux-fill": "FluxFillPipeline", "flux2-klein": "Flux2KleinPipeline"}
TINY_WEIGHTS = {"flux1-redux": "flux-redux", "flux1-canny-lora": "flux-control-lora"}


def build(shape: str, device: torch.device, cache: Path) -> PipelineBackbone:
    """The base model of a shape with random weights, on the device."""
    base = shape.removeprefix("tiny-")
    tiny = load(models.build(cache, base), name=shape, device=device)
    if shape.startswith("tiny-"):
        return tiny
    parts = dict(tiny.pipe.components)
    with torch.device(device), default_dtype(torch.bfloat16):
        parts |= _klein() if base == "flux2-klein" else _flux(FORMS[base])
    parts["vae"].float()
    known = ARCHITECTURES[PIPELINES[base]]
    own = {name: value for name, value in tiny.pipe.config.items() if name == "is_distilled"}
    pipe = known.pipeline(**parts, **own)
    return wrap(pipe, known, name=shape, device=device, dtype=torch.bfloat16, fingerprint=f"random-{shape}")


def _flux(form: str) -> dict[str, Any]:
    return {
        "transformer": FluxTransformer2DModel.from_config(published.TRANSFORMER | published.FORMS[form]),
        "vae": AutoencoderKL.from_config(published.VAE),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**published.CLIP)),
        "text_encoder_2": T5EncoderModel(T5Config(**published.T5)),
    }


def _klein() -> dict[str, Any]:
    return {
        "transformer": Flux2Transformer2DModel.from_config(published2.TRANSFORMER_4B),
        "vae": AutoencoderKLFlux2(),
        "text_encoder": Qwen3TextLayers(Qwen3Config(**published2.QWEN3_4B)),
    }


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Build models in a dtype: never first in float32, which would not fit beside itself."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def weights(shape: str, cache: Path) -> Callable[[str], Path]:
    """Return what finds Redux and the control LoRA by catalogue id: files of the shape's size below `cache`."""
    if shape.startswith("tiny-"):
        return lambda name: models.build(cache, TINY_WEIGHTS[name])

    def find(name: str) -> Path:
        folder = cache / name
        if not folder.exists():
            WRITERS[name](folder)
        return folder

    return find


def _write_redux(folder: Path) -> None:
    published.write_redux(folder)
    side = {"height": published.SIGLIP["image_size"], "width": published.SIGLIP["image_size"]}
    SiglipImageProcessorPil(size=side, resample=3).save_pretrained(folder / "feature_extractor")


def _write_lora(folder: Path) -> None:
    published.write_hollow(published.control_lora_shapes(), folder / "flux1-canny-dev-lora.safetensors")


WRITERS: Mapping[str, Callable[[Path], None]] = {"flux1-redux": _write_redux, "flux1-canny-lora": _write_lora}


def rows(shape: str, bench: Bench, steps: int, count: int) -> Rows:
    """Return the rows of a shape with `count` pictures a request."""
    side = TINY_SIDE if shape.startswith("tiny-") else SIDE
    size = {"width": side, "height": side, "steps": steps, "num_images": count}
    style = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    return ROWS[shape.removeprefix("tiny-")](bench, style, size)


def _dev_rows(bench: Bench, style: Image.Image, size: dict[str, int]) -> Rows:
    seen, map_of = Pictures((style,)), Pictures((style,), control=style.rotate(90))

    def redux(pictures: Pictures, strength: float = 1.0, **params: Any) -> object:
        return bench.cold("redux", pictures, **size, strength=strength, params=params)

    return {
        "FluxPipeline": lambda: _of_diffusers(bench, size),
        "plain": lambda: redux(seen, 0.0),
        "redux f = 1": lambda: redux(seen, downsampling_factor=1),
        "redux f = 1, strength 0.5": lambda: redux(seen, 0.5, downsampling_factor=1),
        "redux f = 3": lambda: redux(seen, downsampling_factor=3),
        "redux f = 3, strength 0.5": lambda: redux(seen, 0.5, downsampling_factor=3),
        "control LoRA": lambda: redux(map_of, 0.0, control="canny"),
    }


def _of_diffusers(bench: Bench, size: dict[str, int]) -> object:
    """Make pictures by diffusers' loop; like ours it finds the text encoded."""
    pipe, height, width = bench.backbone.pipe, size["height"], size["width"]
    prompts = (PROMPT,) * size["num_images"]
    text, _ = bench.backbone.condition(prompts, None, guided=False, width=width, height=height)
    tokens = pipe(
        prompt_embeds=text.text,
        pooled_prompt_embeds=text.added["pooled"],
        num_inference_steps=size["steps"],
        width=width,
        height=height,
        output_type="latent",
    ).images
    return bench.decoded(pipe._unpack_latents(tokens, height, width, pipe.vae_scale_factor))


def _fill_rows(bench: Bench, style: Image.Image, size: dict[str, int]) -> Rows:
    pictures = Pictures(content=style, mask=Image.linear_gradient("L").resize(style.size))
    return {"fill": lambda: bench.cold("fill", pictures, **size)}


def _klein_rows(bench: Bench, style: Image.Image, size: dict[str, int]) -> Rows:
    def edit(pictures: Pictures, strength: float = 1.0, **params: Any) -> object:
        return bench.cold("flux2-edit", pictures, **size, strength=strength, params=params)

    one, two = Pictures((style,)), Pictures((style,), style.rotate(90))
    return {
        "plain": lambda: edit(one, 0.0),
        "one reference": lambda: edit(one),
        "content and style": lambda: edit(two),
        "content and style, reference_size 512": lambda: edit(two, reference_size=512),
    }


ROWS: Mapping[str, Callable[[Bench, Image.Image, dict[str, int]], Rows]] = {
    "flux": _dev_rows,
    "flux-fill": _fill_rows,
    "flux2-klein": _klein_rows,
}
