"""Techniques in random order on one warm model, now and then broken off, leave no trace on it."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from safetensors.torch import save_file

from tests.parity.converted import converted
from tests.support.models import flux_of
from workers.contract.spec import Spec
from workers.engine.backbones.load import load
from workers.engine.backbones.stable_diffusion import StableDiffusion, unet_inputs
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.denoise import Trajectory, denoise
from workers.engine.errors import WeightsMissing
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext, prepare_style
from workers.techniques import registry
from workers.techniques.prior_noise import stats_file

SEQUENCES = 1000
FAULTS = 0.1
SIDE = 64
CASES = Path(__file__).parents[2] / "parity" / "cases"
KNOBS: dict[str, tuple[dict[str, Any], ...]] = {
    "ip-adapter": ({}, {"scale": 0.3, "target_blocks": ("up_blocks.0",)}, {"adapter": "plus"}),
    "instantstyle": ({}, {"mode": "style+layout"}, {"adapter": "plus", "mode": "all"}),
    "csgo": ({}, {"content_in_unet": True, "style_scale": 0.5}, {"controlnet_conditioning_scale": 0.0}),
    "instantstyle-plus": ({}, {"style_guidance_scale": 10.0}, {"scale_content": 0.0, "num_renoise_steps": 0}),
    "style-aligned": ({}, {"share_group_norm": True, "only_self_level": 0.5}, {"full_attention_share": True}),
    "signal-leak": ({}, {"single_reference": "layout"}),
    "style-noise": ({"style": "tuned"},),
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
    """A small random request that the technique accepts."""
    seeds = tuple(draw.randrange(100) for _ in range(draw.choice((1, 1, 1, 1, 2))))
    styles = tuple(picture(draw.randrange(3)) for _ in range(min(1, spec.inputs.references[1])))
    content = None if spec.inputs.content_image == "none" else picture(draw.randrange(3))
    return GenerationInputs(
        prompts=(draw.choice(("", "a boat")),) * len(seeds),
        seeds=seeds,
        width=SIDE,
        height=SIDE,
        steps=1,
        guidance_scale=draw.choice((1.0, 1.0, 1.0, 5.0)),
        params=spec.params.model_validate(draw.choice(KNOBS.get(spec.name, ({},)))),
        noise=SeededNoise(seeds),
        strength=draw.choice((0.0, 0.4, 1.0)),
        pictures=Pictures(styles, content),
    )


def carried(name: str, inputs: GenerationInputs, context: PrepareContext, watch: Callable[[Trajectory], None]) -> None:
    technique = registry.technique(name)
    trajectory = technique.prepare(inputs, context)
    with technique.patch(context.backbone, [trajectory]) as hooks:
        denoise(context.backbone.predict, [trajectory], hooks=hooks, watch=watch)
    assert trajectory.latents.isfinite().all()


class State:
    """Everything by which a change of the UNet could show: each attribute of each module, by identity."""

    def __init__(self, backbone: StableDiffusion) -> None:
        modules = list(backbone.denoiser.modules())
        own = [vars(module) for module in modules]
        inner = [value for attributes in own for value in attributes.values() if isinstance(value, dict)]
        self._dicts = [*own, *inner, vars(backbone.pipe), backbone.scheduler_config]
        self._tensors = [tensor for module in modules for tensor in module.parameters(recurse=False)]
        self._tensors += [tensor for module in modules for tensor in module.buffers(recurse=False)]

    def now(self) -> tuple[list[Any], list[int], list[tuple[int, int]]]:
        """Names, identities of what they name, and where the weights are and how often they were written to."""
        return (
            list(chain.from_iterable(self._dicts)),
            [id(value) for attributes in self._dicts for value in attributes.values()],
            [(tensor.data_ptr(), tensor._version) for tensor in self._tensors],
        )


def parts(backbone: StableDiffusion) -> list[torch.nn.Module]:
    return [part for part in backbone.pipe.components.values() if isinstance(part, torch.nn.Module)]


def digest(backbone: StableDiffusion) -> str:
    seen = hashlib.sha256()
    for part in parts(backbone):
        for name, tensor in part.state_dict().items():
            seen.update(name.encode() + tensor.numpy().tobytes())
    return seen.hexdigest()


def tuned(folder: Path, backbone: StableDiffusion) -> Path:
    """A trained style whose tuning moves two weights."""
    shape = backbone.latent_shape(SIDE, SIDE)
    stats_file.write(folder, "pixel", {"mean_pixels": torch.zeros(shape), "var_pixels": torch.ones(shape)})
    names = ("conv_in.weight", "mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight")
    weights = dict(backbone.denoiser.named_parameters())
    save_file({name: weights[name] + 0.01 for name in names}, folder / "diffusion_pytorch_model.safetensors")
    (folder / "style.json").write_text(json.dumps({"base": backbone.base}))
    return folder


def called(backbone: StableDiffusion) -> list[torch.nn.Module]:
    """The UNet's modules that a plain call uses, keys and values of attentions aside, which a technique may replace."""
    seen: list[torch.nn.Module] = []
    leaves = [module for name, module in backbone.denoiser.named_modules() if not name.endswith(("to_k", "to_v"))]
    handles = [m.register_forward_pre_hook(lambda module, args: seen.append(module)) for m in leaves]
    text, _ = backbone.condition(("",), None, guided=False, width=SIDE, height=SIDE)
    sample = torch.zeros(1, *backbone.latent_shape(SIDE, SIDE))
    with torch.no_grad():
        backbone.denoiser(sample, torch.tensor(1), **unet_inputs(text))
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(seen))


@pytest.fixture
def quick(sdxl: StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> StableDiffusion:
    """SDXL that remembers what its text encoders said, which no technique changes."""
    condition, said = sdxl.condition, dict[str, Any]()

    def remembered(*args: Any, **kwargs: Any) -> Any:
        key = repr((args, kwargs))
        if key not in said:
            said[key] = condition(*args, **kwargs)
        return said[key]

    monkeypatch.setattr(sdxl, "condition", remembered)
    return sdxl


@pytest.fixture
def weights(quick: StableDiffusion, tiny_root: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Where the tiny weights of the recorded cases are, by catalogue id, and the style `tuned`."""
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
        "tuned": tuned(tmp_path, quick),
        "flux1-redux": tiny_root / "flux-redux",
    }

    def locate(name: str) -> Path:
        if name not in found:
            raise WeightsMissing(name)
        return found[name]

    return locate


def test_1000_sequences_leave_the_model_as_it_was(quick: StableDiffusion, weights: Callable[[str], Path]) -> None:
    draw = random.Random(2026)
    specs = [registry.spec(name) for name in registry.names() if quick.base in registry.spec(name).bases]
    modules, before = called(quick), digest(quick)
    state = State(quick)
    expected = state.now()
    styles = StyleCache([MemoryTier("host", 1 << 28)])
    broken = 0
    for _ in range(SEQUENCES):
        chosen = [draw.choice(specs) for _ in range(draw.choice((1, 1, 2)))]
        breaks = draw.random() < FAULTS
        fault = Fault(draw.choice((None, draw.choice(modules))))
        if draw.random() < (0.5 if breaks else 0.01):
            styles.clear()
        for spec in chosen:
            inputs = ordered(spec, draw)
            if not breaks or spec is not chosen[-1]:
                carried(
                    spec.name, inputs, PrepareContext(quick, RequestCache(styles), weights), lambda trajectory: None
                )
                continue
            try:
                with fault.set():
                    carried(
                        spec.name,
                        inputs,
                        PrepareContext(quick, RequestCache(styles), weights, fault.watch),
                        fault.watch,
                    )
            except InjectedError:
                broken += 1
        assert state.now() == expected, [spec.name for spec in chosen]
    assert broken > 0.7 * FAULTS * SEQUENCES
    assert digest(quick) == before


@pytest.mark.parametrize(
    "name", [name for name in registry.names() if registry.spec(name).inputs.references[1] and name != "deadiff"]
)
def test_a_style_prepared_in_advance_is_not_prepared_again(
    quick: StableDiffusion, weights: Any, tiny_root: Path, name: str
) -> None:
    """Of a request with the same settings, whatever its prompt and content picture."""
    spec, styles = registry.spec(name), StyleCache([MemoryTier("host", 1 << 28)])
    backbone = quick if quick.base in spec.bases else flux_of(tiny_root, next(iter(spec.bases)))
    inputs = GenerationInputs(
        prompts=("",),
        seeds=(0,),
        width=SIDE,
        height=SIDE,
        steps=2,
        guidance_scale=5.0,
        params=spec.params(),
        noise=SeededNoise((0,)),
        pictures=Pictures((picture(0),)),
    )
    first, second = (RequestCache(styles, pictures=("0" * 64,)) for _ in range(2))
    with torch.no_grad():
        prepare_style(registry.technique(name), inputs, PrepareContext(backbone, first, weights))
    assert (first.outcome, bool(first.keys)) == ("miss", True)
    content = None if spec.inputs.content_image == "none" else picture(1)
    asked = replace(inputs, prompts=("a boat",), seeds=(7,), pictures=Pictures((picture(0),), content))
    with torch.no_grad():
        registry.technique(name).prepare(asked, PrepareContext(backbone, second, weights))
    assert second.outcome == "hit"
    assert second.keys <= first.keys


@pytest.mark.parametrize("trace", ["processor", "hook", "forward", "attribute", "in place", "other tensor"])
def test_any_trace_would_be_seen(tiny_root: Path, trace: str) -> None:
    backbone = load(tiny_root / "sd15")
    state = State(backbone)
    expected = state.now()
    attention = backbone.denoiser.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1")
    if trace == "processor":
        attention.set_processor(AttnProcessor())
    elif trace == "hook":
        attention.to_q.register_forward_hook(lambda module, args, output: None)
    elif trace == "forward":
        attention.forward = attention.forward
    elif trace == "attribute":
        attention.residual_connection = True
    elif trace == "in place":
        attention.to_q.weight.mul_(1.0)
    else:
        attention.to_q.weight.data = attention.to_q.weight.data.clone()
    assert state.now() != expected
