"""LoRAs on FLUX.1: what the weights with the change in them draw, from every layout, and no trace of it afterwards."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model_store.add.add import add
from model_store.catalogue.entry import Base
from tests.parity.lab import carry
from tests.support.models import flux_of, no_weights
from tests.support.techniques import lora_files
from tests.support.techniques.flux_lora_files import WRITERS, FluxChange, draw, write
from tests.unit.engine.test_engine import STYLE, picture, quiet, request
from workers.contract.spec import Lora
from workers.engine.backbones import patches
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.flux import Flux
from workers.engine.backbones.flux_control_lora import control_branches, read_control_lora
from workers.engine.backbones.load import load
from workers.engine.backbones.loras.stack import apply_loras
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import RequestCache, StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.errors import Refused
from workers.engine.noise import SeededNoise
from workers.engine.technique import GenerationInputs, Pictures, PrepareContext
from workers.engine.types import BatchItem
from workers.techniques import registry
from workers.worker.resources import loras

Install = Callable[..., None]
CLOSE = 1e-5


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def install(store: Path, tmp_path: Path) -> Install:
    """Write a change in a layout and add it to the store."""

    def add_it(change: FluxChange, model: str = "ink", layout: str = "kohya") -> None:
        assert add(write(layout, change, tmp_path / "made" / model), model, store).base == "flux"

    return add_it


def latents(backbone: Flux, method: str = "", redux: Path | None = None) -> Tensor:
    """Return what a method makes of a prompt in two steps, by default without style images."""
    method = method or ("fill" if backbone.base == "flux-fill" else "redux")
    params = {"control": "canny"} if backbone.base == "flux-control" else {}
    pictures = {
        "flux-fill": Pictures(content=picture(3), mask=picture(4)),
        "flux-control": Pictures(control=picture(3)),
    }.get(backbone.base, Pictures())
    if redux is not None:
        pictures = replace(pictures, styles=(picture(5),))
    technique = registry.technique(method)
    asked = GenerationInputs(
        prompts=("a tower",),
        seeds=(1,),
        width=64,
        height=48,
        steps=2,
        guidance_scale=3.5,
        params=registry.spec(method).params(**params),
        noise=SeededNoise((1,)),
        strength=0.0 if method == "redux" and redux is None else 1.0,
        pictures=pictures,
    )
    cache = RequestCache(StyleCache([MemoryTier("host", 1 << 28)]))
    context = PrepareContext(backbone, cache, no_weights if redux is None else lambda name: redux)
    trajectory = technique.prepare(asked, context)
    carry(technique, trajectory, context)
    return trajectory.latents


@contextmanager
def merged(backbone: Flux, change: FluxChange, scale: float = 1.0) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(patches.attribute(backbone, "fingerprint", f"changed {id(change)} {scale}"))
        for part, deltas in change.deltas().items():
            stack.enter_context(patches.weights(backbone.components[part], deltas, scale=scale))
        yield


def with_loras(backbone: Flux, store: Path, *asked: Lora) -> Tensor:
    with apply_loras(backbone, asked, loras(store)):
        return latents(backbone)


def off(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def state(backbone: Flux) -> dict[str, tuple[int, Tensor]]:
    modules = {name: part for name, part in backbone.components.items() if isinstance(part, torch.nn.Module)}
    return {
        f"{part}.{name}": (parameter.data.data_ptr(), parameter.data.clone())
        for part, module in modules.items()
        for name, parameter in module.named_parameters()
    }


def same(before: dict[str, tuple[int, Tensor]], after: dict[str, tuple[int, Tensor]]) -> bool:
    return before.keys() == after.keys() and all(
        before[name][0] == after[name][0] and torch.equal(before[name][1], after[name][1]) for name in before
    )


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_draws_what_the_changed_weights_draw(
    layout: str, flux: Flux, store: Path, install: Install
) -> None:
    change = draw(flux.pipe)
    install(change, layout=layout)
    before, plain = state(flux), latents(flux)
    ours = with_loras(flux, store, Lora(id="ink", scale=0.8))
    with merged(flux, change, 0.8):
        theirs = latents(flux)
    assert off(ours, theirs) < CLOSE
    assert off(ours, plain) > 1e-2, "or there is nothing to see"
    assert same(before, state(flux))
    assert torch.equal(latents(flux), plain)


@pytest.mark.parametrize("layout", ["kohya", "comfyui", "diffusers"])
def test_layers_of_every_kind_and_both_text_encoders(layout: str, flux: Flux, store: Path, install: Install) -> None:
    change = draw(flux.pipe, whole=True)
    install(change, layout=layout)
    before = state(flux)
    ours = with_loras(flux, store, Lora(id="ink", scale=0.5))
    with merged(flux, change, 0.5):
        theirs = latents(flux)
    assert off(ours, theirs) < CLOSE
    for part in change.text:
        with merged(flux, FluxChange(change.layers, {part: change.text[part]}), 0.5):
            assert off(ours, latents(flux)) > 10 * CLOSE, "the other text encoder counts"
    assert same(before, state(flux))


@pytest.mark.parametrize("scales", [(0.0, 0.0), (-1.5, 0.0), (0.7, -0.4)])
def test_several_add_up_and_a_scale_of_0_is_none(
    scales: Sequence[float], flux: Flux, store: Path, install: Install
) -> None:
    changes = {"ink": draw(flux.pipe), "chalk": draw(flux.pipe, seed=8, whole=True)}
    for (name, change), layout in zip(changes.items(), ("xlabs", "bfl"), strict=True):
        install(FluxChange(change.layers, {}), name, layout)
    ours = with_loras(flux, store, *(Lora(id=name, scale=s) for name, s in zip(changes, scales, strict=True)))
    with ExitStack() as stack:
        for change, scale in zip(changes.values(), scales, strict=True):
            stack.enter_context(merged(flux, FluxChange(change.layers, {}), scale))
        theirs = latents(flux)
    assert off(ours, theirs) < CLOSE
    assert torch.equal(ours, latents(flux)) is not any(scales)


@pytest.mark.parametrize("base", ["flux-schnell", "flux-fill", "flux-control"])
def test_the_other_models_take_it_too(base: Base, tiny_root: Path, flux: Flux, store: Path, install: Install) -> None:
    change = draw(flux.pipe)
    install(change, layout="diffusers")
    other = flux_of(tiny_root, base)
    plain = latents(other)
    ours = with_loras(other, store, Lora(id="ink"))
    with merged(other, change):
        theirs = latents(other)
    assert off(ours, theirs) < CLOSE < off(ours, plain)


@pytest.mark.parametrize(("base", "method"), [("flux", "redux"), ("flux-fill", "redux-fill")])
def test_with_style_images(base: Base, method: str, tiny_root: Path, flux: Flux, store: Path, install: Install) -> None:
    change, backbone, redux = draw(flux.pipe), flux_of(tiny_root, base), tiny_root / "flux-redux"
    install(change)
    plain = latents(backbone, method, redux)
    with apply_loras(backbone, [Lora(id="ink")], loras(store)):
        ours = latents(backbone, method, redux)
    with merged(backbone, change):
        theirs = latents(backbone, method, redux)
    assert off(ours, theirs) < CLOSE < off(ours, plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_a_control_lora_and_after_an_exception(
    dtype: torch.dtype, tiny_root: Path, store: Path, install: Install
) -> None:
    backbone = load(tiny_root / "flux", dtype=dtype)
    assert isinstance(backbone, Flux)
    change = draw(backbone.pipe, whole=True)
    install(change)
    control = read_control_lora(tiny_root / "flux-control-lora" / "flux1-canny-dev-lora.safetensors", backbone)
    before, fingerprint = state(backbone), backbone.fingerprint
    with pytest.raises(ZeroDivisionError), apply_loras(backbone, [Lora(id="ink")], loras(store)):
        with control_branches(backbone, control, 0.85):
            both = through(backbone, "transformer_blocks.0.ff.net.2")
        style = through(backbone, "transformer_blocks.0.ff.net.2")
        raise ZeroDivisionError
    assert same(before, state(backbone))
    assert not any("forward" in vars(module) for module in backbone.denoiser.modules())
    assert backbone.fingerprint == fingerprint
    with control_branches(backbone, control, 0.85):
        alone = through(backbone, "transformer_blocks.0.ff.net.2")
    plain = through(backbone, "transformer_blocks.0.ff.net.2")
    assert off(both - alone, style - plain) < (CLOSE if dtype is torch.float32 else 0.1), "each adds its own"


@torch.no_grad()
def through(backbone: Flux, layer: str) -> Tensor:
    module = backbone.denoiser.get_submodule(layer)
    x = torch.randn(3, module.in_features, generator=torch.Generator().manual_seed(5)).to(backbone.dtype)
    return module(x).float()


def test_on_weights_stored_in_8_bits(tiny_root: Path, store: Path, install: Install) -> None:
    backbone, exact = (load(tiny_root / "flux", weight_storage=storage) for storage in ("float8", "full"))
    assert isinstance(backbone, Flux)
    assert isinstance(exact, Flux)
    change = draw(backbone.pipe)
    install(change)
    before = state(backbone)
    ours = with_loras(backbone, store, Lora(id="ink"))
    after = state(backbone)
    for name, parameter in exact.denoiser.named_parameters():
        _, stored = before[f"transformer.{name}"]
        parameter.data = stored.float()
    assert all(before[name][1].dtype == after[name][1].dtype for name in before)
    assert all(torch.equal(before[name][1].float(), after[name][1].float()) for name in before)
    with merged(exact, change):
        theirs = latents(exact)
    assert off(ours, theirs) < CLOSE


def test_what_is_built_beside_the_model_sees_it_without(flux: Flux, store: Path, install: Install) -> None:
    install(draw(flux.pipe))
    fingerprint, plain = flux.fingerprint, through(flux, "transformer_blocks.1.attn.to_q")
    with apply_loras(flux, [Lora(id="ink")], loras(store)):
        changed = through(flux, "transformer_blocks.1.attn.to_q")
        with flux.with_original_weights():
            assert torch.equal(through(flux, "transformer_blocks.1.attn.to_q"), plain)
            assert flux.fingerprint == fingerprint
        assert torch.equal(through(flux, "transformer_blocks.1.attn.to_q"), changed)
        assert flux.fingerprint != fingerprint
    assert not torch.equal(changed, plain)


def test_what_does_not_fit_is_refused_by_name(
    flux: Flux, tiny_root: Path, sd15: StableDiffusion, store: Path, install: Install, tmp_path: Path
) -> None:
    def using(model: str, backbone: Backbone) -> None:
        with apply_loras(backbone, [Lora(id=model)], loras(store)):
            raise AssertionError

    install(draw(flux.pipe, whole=True))
    add(lora_files.write("kohya", sd15.pipe, tmp_path / "chalk"), "chalk", store, base="sd15")
    with pytest.raises(Refused, match="the LoRA chalk is for sd15, the base model is flux"):
        using("chalk", flux)
    with pytest.raises(Refused, match="the LoRA ink is for flux, the base model is sd15"):
        using("ink", sd15)
    with pytest.raises(Refused, match="flux1-canny-lora is no LoRA"):
        using("flux1-canny-lora", flux)
    schnell = flux_of(tiny_root, "flux-schnell")
    before = state(schnell)
    with pytest.raises(Refused, match=r"does not fit flux-schnell: transformer has no weight .*guidance_embedder"):
        using("ink", schnell)
    with pytest.raises(Refused, match=r"does not fit flux-fill: transformer has no weight x_embedder"):
        using("ink", flux_of(tiny_root, "flux-fill"))
    assert same(before, state(schnell))


def test_only_requests_with_the_same_loras_share_a_batch(flux: Flux, store: Path, install: Install) -> None:
    install(draw(flux.pipe))
    ran: list[int] = []
    engine = DiffusionEngine(
        pool=BackboneCache(lambda model: flux),
        cache=StyleCache([MemoryTier("host", 1 << 28)]),
        technique=registry.technique,
        weights=no_weights,
        find_lora=loras(store),
    )
    asked: list[dict[str, object]] = [{}, *({"loras": [{"id": "ink", "scale": scale}]} for scale in (1.0, 1, 0.5))]
    more = {"method": "redux", "model": "flux", "guidance_scale": 3.5, "strength": 0.0, "width": 64, "height": 64}
    items = [BatchItem(request(params=params, seed=9, **more), STYLE, quiet) for params in asked]
    engine._observer = type("Seen", (), {"ran": lambda _, *facts: ran.append(facts[1])})()
    outcomes = engine.run_batch(items)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert sorted(ran) == [1, 1, 2]
    pixels = [np.asarray(outcome.pictures[0]).astype(int) for outcome in outcomes]  # type: ignore[union-attr]
    assert np.abs(pixels[1] - pixels[2]).max() <= 1
    assert min(np.abs(pixels[1] - other).max() for other in (pixels[0], pixels[3])) > 2
