"""Random requests of any technique on warm tiny models, broken off or not, and every trace that they could leave."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.parity.converted import converted
from workers.contract.spec import Spec
from workers.engine.backbones.flux import CachedRotary, with_channels
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.conditioning import Condition
from workers.engine.denoise import DenoiserCall, Trajectory, denoise
from workers.engine.errors import WeightsMissing
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext
from workers.techniques import registry
from workers.techniques.prior_noise import stats_file

SIDE = 64
CASES = Path(__file__).parents[2] / "parity" / "cases"
FILL_CHANNELS = 80
SHORT: dict[str, Any] = {"max_sequence_length": 8, "downsampling_factor": 3}
KNOBS: dict[str, tuple[dict[str, Any], ...]] = {
    "ip-adapter": ({}, {"scale": 0.3, "target_blocks": ("up_blocks.0",)}, {"adapter": "plus"}),
    "instantstyle": ({}, {"mode": "style+layout"}, {"adapter": "plus", "mode": "all"}),
    "csgo": ({}, {"content_in_unet": True, "style_scale": 0.5}, {"controlnet_conditioning_scale": 0.0}),
    "instantstyle-plus": ({}, {"style_guidance_scale": 10.0}, {"scale_content": 0.0, "num_renoise_steps": 0}),
    "style-aligned": ({}, {"share_group_norm": True, "only_self_level": 0.5}, {"full_attention_share": True}),
    "signal-leak": ({}, {"single_reference": "layout"}),
    "style-noise": ({"style": "tuned"},),
    "redux": (
        {**SHORT},
        {**SHORT, "true_cfg_scale": 2.0},
        {**SHORT, "control": "canny", "control_scale": 0.5},
        {**SHORT, "combine": "blend", "fit": "crop"},
    ),
    "fill": ({"max_sequence_length": 8}, {"max_sequence_length": 8, "keep": "none"}),
    "flux2-edit": ({"max_sequence_length": 32}, {"max_sequence_length": 32, "reference_keys": "cached"}),
    "redux-fill": ({"max_sequence_length": 8}, {"max_sequence_length": 8, "layout": "tokens"}),
    "style-id": ({}, {"injection_layers": (3, 5), "schedule": "ldm"}, {"init_adain": False}),
}
"""Knobs to try, by technique; a technique that is not here runs with its defaults."""


class InjectedError(Exception):
    """The fault of a sequence that is broken off."""


@dataclass
class Fault:
    """Where a sequence breaks: at a module of the UNet, or, without one, where progress is reported."""

    module: torch.nn.Module | None

    def watch(self, trajectory: Trajectory) -> None:
        if self.module is None:
            raise InjectedError

    @contextmanager
    def set(self) -> Iterator[None]:
        """Raise when the module is called."""

        def fail(module: Any, args: Any) -> None:
            raise InjectedError

        handle = None if self.module is None else self.module.register_forward_pre_hook(fail)
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()


@cache
def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((SIDE, SIDE))


def ordered(spec: Spec, draw: random.Random) -> GenerationInputs:
    """Return a small random request that the technique accepts."""
    seeds = tuple(draw.randrange(100) for _ in range(draw.choice((1, 1, 1, 1, 2))))
    params = spec.params.model_validate(draw.choice(KNOBS.get(spec.name, ({},))))
    return GenerationInputs(
        prompts=(draw.choice(("", "a boat")),) * len(seeds),
        seeds=seeds,
        width=SIDE,
        height=SIDE,
        steps=1,
        guidance_scale=draw.choice((1.0, 1.0, 1.0, 5.0)),
        params=params,
        noise=SeededNoise(seeds),
        strength=draw.choice((0.0, 0.4, 1.0)),
        pictures=_pictures(spec, draw),
    )


def _pictures(spec: Spec, draw: random.Random) -> Pictures:
    styles = tuple(picture(draw.randrange(3)) for _ in range(min(1, spec.inputs.references[1])))
    content = None if spec.inputs.content_image == "none" else picture(draw.randrange(3))
    mask = None if spec.inputs.mask_image == "none" else picture(draw.randrange(3)).convert("L")
    return Pictures(styles, content, picture(3) if spec.name == "redux" else None, mask)


def carried(name: str, inputs: GenerationInputs, context: PrepareContext, watch: Callable[[Trajectory], None]) -> None:
    """Carry a request out, without decoding."""
    technique = registry.technique(name)
    trajectory = technique.prepare(inputs, context)
    with technique.patch(context.backbone, [trajectory]) as hooks:
        denoise(context.backbone.predict, [trajectory], hooks=hooks, watch=watch)
    assert trajectory.latents.isfinite().all()


class State:
    """Everything by which a change of the denoiser could show: each attribute of each module, by identity.

    What FLUX keeps of its last layout of tokens is no trace: it depends on nothing else.
    """

    def __init__(self, backbone: PipelineBackbone) -> None:
        modules = list(backbone.denoiser.modules())
        own = [vars(module) for module in modules]
        inner = [value for attributes in own for value in attributes.values() if isinstance(value, dict)]
        kept = [vars(module) for module in modules if not isinstance(module, CachedRotary)]
        self._dicts = [*kept, *inner, vars(backbone.pipe), backbone.scheduler_config]
        self._tensors = [tensor for module in modules for tensor in module.parameters(recurse=False)]
        self._tensors += [tensor for module in modules for tensor in module.buffers(recurse=False)]

    def now(self) -> tuple[list[Any], list[int], list[tuple[int, int]]]:
        """Names, identities of what they name, and where the weights are and how often they were written to."""
        return (
            list(chain.from_iterable(self._dicts)),
            [id(value) for attributes in self._dicts for value in attributes.values()],
            [(tensor.data_ptr(), tensor._version) for tensor in self._tensors],
        )


def _parts(backbone: PipelineBackbone) -> list[torch.nn.Module]:
    return [part for part in backbone.pipe.components.values() if isinstance(part, torch.nn.Module)]


def digest(backbone: PipelineBackbone) -> str:
    seen = hashlib.sha256()
    for part in _parts(backbone):
        for name, tensor in part.state_dict().items():
            seen.update(name.encode() + tensor.numpy().tobytes())
    return seen.hexdigest()


def tuned(folder: Path, backbone: PipelineBackbone) -> Path:
    """A trained style whose tuning moves two weights."""
    shape = backbone.latent_shape(SIDE, SIDE)
    stats_file.write(folder, "pixel", {"mean_pixels": torch.zeros(shape), "var_pixels": torch.ones(shape)})
    names = ("conv_in.weight", "mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight")
    weights = dict(backbone.denoiser.named_parameters())
    save_file({name: weights[name] + 0.01 for name in names}, folder / "diffusion_pytorch_model.safetensors")
    (folder / "style.json").write_text(json.dumps({"base": backbone.base}))
    return folder


def called(backbone: PipelineBackbone) -> list[torch.nn.Module]:
    """The denoiser's modules that a plain call uses, keys and values aside, which a technique may replace."""
    seen: list[torch.nn.Module] = []
    leaves = [module for name, module in backbone.denoiser.named_modules() if not name.endswith(("to_k", "to_v"))]
    handles = [m.register_forward_pre_hook(lambda module, args: seen.append(module)) for m in leaves]
    sample = torch.zeros(1, *backbone.latent_shape(SIDE, SIDE))
    with torch.no_grad():
        backbone.predict(DenoiserCall(sample, torch.tensor(1), _plain(backbone), ()))
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(seen))


def _plain(backbone: PipelineBackbone) -> Condition:
    text, _ = backbone.condition(("",), None, guided=False, width=SIDE, height=SIDE)
    _, height, width = backbone.latent_shape(SIDE, SIDE)
    return with_channels(text, torch.zeros(1, FILL_CHANNELS, height, width)) if backbone.base == "flux-fill" else text


def located(tiny_root: Path, folder: Path, sdxl: PipelineBackbone) -> Callable[[str], Path]:
    """Return where the tiny weights of the recorded cases are, by catalogue id, and the style `tuned`."""
    encoder, csgo_weights = CASES / "encoder" / "weights", CASES / "csgo" / "weights"
    found = {
        "ip-adapter-sdxl": encoder / "ip-adapter_sdxl.safetensors",
        "ip-adapter-plus-sdxl-vit-h": converted(encoder / "ip-adapter-plus_sdxl_vit-h.bin", "ip-adapter"),
        "ip-adapter-sdxl-vit-h": encoder / "ip-adapter_sdxl.safetensors",
        "controlnet-tile-sdxl": encoder / "controlnet-tile-sdxl",
        "csd": converted(encoder / "csd.pth", "csd"),
        "csgo": converted(csgo_weights / "csgo_4_32.bin", "csgo"),
        "controlnet-tile-sdxl-ttplanet": csgo_weights / "controlnet",
        "clip-vit-h": tiny_root / "clip-vision",
        "clip-vit-bigg": tiny_root / "clip-vision",
        "tuned": tuned(folder, sdxl),
        "flux1-redux": tiny_root / "flux-redux",
        "flux1-canny-lora": tiny_root / "flux-control-lora",
    }

    def locate(name: str) -> Path:
        if name not in found:
            raise WeightsMissing(name)
        return found[name]

    return locate
