"""Keys and values of references that are kept: what the model's own extraction gives, computed once for a set."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_flux2 import (
    Flux2KVAttnProcessor,
    Flux2KVParallelSelfAttnProcessor,
)

from tests.unit.techniques.edit.flux2_edit.requests import asked, context, made
from workers.engine.backbones import patches
from workers.engine.backbones.flux2 import Flux2, Flux2KV, positions, reference_tokens, text_positions
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.technique import Pictures, prepare_style
from workers.techniques.edit.flux2_edit.attention import reference_keys
from workers.techniques.edit.flux2_edit.technique import TECHNIQUE


@pytest.fixture
def cache() -> StyleCache:
    return StyleCache([MemoryTier("host", 1 << 28)])


@torch.no_grad()
def extracted(flux2: Flux2, latents: list[torch.Tensor], prompt: str, timestep: float) -> Any:
    """Return what diffusers keeps of references beside a picture and a prompt."""
    tokens, places = reference_tokens(latents)
    text, _ = flux2.condition([prompt], None, guided=False, width=64, height=64, text_tokens=48)
    noise = torch.randn(1, 128, 3, 5)
    doubles = len(flux2.denoiser.transformer_blocks)
    processors = {
        layer: Flux2KVAttnProcessor() if i < doubles else Flux2KVParallelSelfAttnProcessor()
        for i, layer in enumerate(flux2.attention_layers)
    }
    with patches.attention_processors(flux2.denoiser, processors):
        _, kept = flux2.denoiser(
            hidden_states=torch.cat([tokens, noise.flatten(2).transpose(1, 2)], dim=1),
            timestep=torch.tensor([timestep]),
            encoder_hidden_states=text.text,
            txt_ids=text_positions(48, text.text.device),
            img_ids=torch.cat([places, positions(noise)]),
            return_dict=False,
            kv_cache_mode="extract",
            num_ref_tokens=tokens.shape[1],
        )
    return kept


@pytest.mark.parametrize(("prompt", "timestep"), [("a boat", 1.0), ("the sea", 0.3)])
def test_they_are_those_of_the_models_own_extraction(flux2: Flux2, prompt: str, timestep: float) -> None:
    latents = [torch.randn(1, 128, 4, 4), torch.randn(1, 128, 4, 6)]
    kept = extracted(flux2, latents, prompt, timestep)
    ours = reference_keys(flux2, latents)
    theirs = [each.get() for each in (*kept.double_block_caches, *kept.single_block_caches)]
    for layer, (key, value) in zip(flux2.attention_layers, theirs, strict=True):
        torch.testing.assert_close(ours[f"{layer}.key"], key, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours[f"{layer}.value"], value, rtol=1e-4, atol=1e-5)


def test_a_warm_request_is_the_cold_one_and_computes_nothing_of_the_references(
    flux2: Flux2, cache: StyleCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = asked(2, content=True, strength=0.7, reference_keys="cached")
    cold = made(inputs, flux2, cache)
    other = replace(inputs, prompts=("the sea",), width=80, strength=0.2, steps=3)
    monkeypatch.setattr(flux2, "encode", None)
    misses = cache.misses
    made(other, flux2, cache)
    assert cache.misses == misses
    assert torch.equal(made(inputs, flux2, cache), cold)


def test_another_order_is_another_set(flux2: Flux2, cache: StyleCache) -> None:
    inputs = asked(2, reference_keys="cached")
    swapped = replace(inputs, pictures=Pictures(inputs.pictures.styles[::-1]))
    ours = made(inputs, flux2, cache)
    assert not torch.allclose(made(swapped, flux2, cache), ours, atol=1e-3)
    assert torch.equal(made(inputs, flux2, cache), ours)


@pytest.mark.parametrize(("kind", "kept"), [(Flux2, False), (Flux2KV, True)])
def test_they_are_kept_by_default_where_the_weights_were_trained_for_it(
    flux2: Flux2, kind: type[Flux2], kept: bool
) -> None:
    backbone = kind(flux2.pipe, name="x", base="flux2-klein", fingerprint="", dtype=torch.float32)
    assert (TECHNIQUE.prepare(asked(1), context(backbone)).extra.kept is not None) is kept


def test_a_style_is_prepared_with_its_keys(flux2: Flux2, cache: StyleCache) -> None:
    inputs = asked(1, reference_keys="cached")
    prepare_style(TECHNIQUE, replace(inputs, prompts=("",)), context(flux2, cache))
    misses = cache.misses
    made(inputs, flux2, cache)
    assert cache.misses == misses
