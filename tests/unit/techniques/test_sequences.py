"""Techniques in random order on warm models, now and then broken off, leave no trace on them."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from tests.support.models import tiny_of
from tests.support.techniques.sequences import (
    SIDE,
    Fault,
    InjectedError,
    State,
    called,
    carried,
    digest,
    located,
    ordered,
    picture,
)
from workers.contract.spec import Spec
from workers.engine.backbones.flux import Flux
from workers.engine.backbones.flux2 import Flux2
from workers.engine.backbones.load import load
from workers.engine.backbones.pipeline import PipelineBackbone
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext, prepare_style
from workers.techniques import registry

SEQUENCES = 1000
FAULTS = 0.1


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
    return located(tiny_root, tmp_path, quick)


def test_1000_sequences_leave_the_models_as_they_were(
    quick: StableDiffusion, flux: Flux, flux_fill: Flux, flux2: Flux2, weights: Callable[[str], Path]
) -> None:
    """Each mixes a technique or two on the UNet with one on FLUX, all models resident."""
    draw = random.Random(2026)
    on_unet, on_flux = choices(quick), [*choices(flux), *choices(flux_fill), *choices(flux2)]
    resident = (quick, flux, flux_fill, flux2)
    modules = {backbone.name: called(backbone) for backbone in resident}
    before = [digest(backbone) for backbone in resident]
    states = [State(backbone) for backbone in resident]
    expected = [state.now() for state in states]
    styles = StyleCache([MemoryTier("host", 1 << 28)])
    broken = 0
    for _ in range(SEQUENCES):
        chosen = [draw.choice(on_unet) for _ in range(draw.choice((1, 1, 2)))]
        chosen.insert(draw.randrange(len(chosen) + 1), draw.choice(on_flux))
        breaks = draw.random() < FAULTS
        fault = Fault(draw.choice((None, draw.choice(modules[chosen[-1][0].name]))))
        if draw.random() < (0.5 if breaks else 0.01):
            styles.clear()
        for backbone, spec in chosen:
            inputs, cache = ordered(spec, draw), RequestCache(styles)
            if not breaks or spec is not chosen[-1][1]:
                carried(spec.name, inputs, PrepareContext(backbone, cache, weights), lambda trajectory: None)
                continue
            try:
                with fault.set():
                    carried(spec.name, inputs, PrepareContext(backbone, cache, weights, fault.watch), fault.watch)
            except InjectedError:
                broken += 1
        assert [state.now() for state in states] == expected, [spec.name for _, spec in chosen]
    assert broken > 0.7 * FAULTS * SEQUENCES
    assert [digest(backbone) for backbone in resident] == before


def choices(backbone: PipelineBackbone) -> list[tuple[PipelineBackbone, Spec]]:
    """Return the techniques that run on a base model, each with it."""
    specs = [registry.spec(name) for name in registry.names()]
    return [(backbone, spec) for spec in specs if backbone.base in spec.bases]


@pytest.mark.parametrize(
    "name", [name for name in registry.names() if registry.spec(name).inputs.references[1] and name != "deadiff"]
)
def test_a_style_prepared_in_advance_is_not_prepared_again(
    quick: StableDiffusion, weights: Any, tiny_root: Path, name: str
) -> None:
    """Of a request with the same settings, whatever its prompt and content picture."""
    spec, styles = registry.spec(name), StyleCache([MemoryTier("host", 1 << 28)])
    backbone = quick if quick.base in spec.bases else tiny_of(tiny_root, next(iter(spec.bases)))
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
    mask = None if spec.inputs.mask_image == "none" else picture(2).convert("L")
    shown = Pictures((picture(0),), content, mask=mask)
    asked = replace(inputs, prompts=("a boat",), seeds=(7,), pictures=shown)
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
