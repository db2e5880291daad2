"""Requests on FLUX through the engine: what shares a batch, what is computed once, what is told of the text."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_store.catalogue.entry import PROMPT_TOKENS
from tests.support.models import flux_of
from tests.support.techniques.flux_requests import counted, installed, picture
from workers.contract.jobs.models import StylizeRequest
from workers.engine.backbones import latent_preview, patches
from workers.engine.backbones.flow_matching import FlowMatching
from workers.engine.backbones.flux import Flux
from workers.engine.backbones.pool import BackboneCache
from workers.engine.cache.prompt_cache import PromptCache
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.inputs import generation_inputs
from workers.engine.technique import Pictures
from workers.engine.types import BatchItem, GenerationResult, PreviewFrame
from workers.techniques import registry

SHORT = {"max_sequence_length": 16}
STYLE = Pictures((picture(1),))


def request(method: str = "redux", **more: Any) -> StylizeRequest:
    fields: dict[str, Any] = {
        "method": method,
        "model": "flux",
        "prompt": "a red house",
        "style_images": ("0" * 64,),
        "seed": 1,
        "width": 64,
        "height": 48,
        "steps": 2,
        "guidance_scale": 2.5,
        "strength": 0.5,
        "params": SHORT,
    }
    return StylizeRequest.model_validate(fields | more)


def item(asked: StylizeRequest, pictures: Pictures = STYLE) -> BatchItem:
    return BatchItem(asked, pictures, lambda progress: None)


def engine_on(backbone: Flux, tiny_root: Path) -> DiffusionEngine:
    return DiffusionEngine(
        pool=BackboneCache(lambda model: backbone),
        cache=StyleCache([MemoryTier("host", 1 << 28)]),
        technique=registry.technique,
        weights=installed(tiny_root),
    )


@pytest.fixture
def engine(flux: Flux, tiny_root: Path) -> DiffusionEngine:
    return engine_on(flux, tiny_root)


def drawn(outcome: GenerationResult | Exception) -> Any:
    assert isinstance(outcome, GenerationResult), outcome
    return np.asarray(outcome.pictures[0], dtype=int)


def test_requests_of_other_steps_and_guidance_share_calls_and_none_changes_another(
    engine: DiffusionEngine, flux: Flux
) -> None:
    asked = [
        request(),
        request(seed=2, steps=3, guidance_scale=10.0, prompt="a boat"),
        request(seed=3, steps=1, strength=0.9),
    ]
    with counted(flux.denoiser) as calls:
        together = engine.run_batch([item(one) for one in asked])
    assert len(calls) == 3, "as many as the most steps"
    for one, outcome in zip(asked, together, strict=True):
        [alone] = engine.run_batch([item(one)])
        assert np.abs(drawn(alone) - drawn(outcome)).max() <= 1


def test_each_picture_of_a_request_can_be_had_alone(engine: DiffusionEngine) -> None:
    [both] = engine.run_batch([item(request(num_images=2))])
    [second] = engine.run_batch([item(request(seed=2))])
    assert isinstance(both, GenerationResult)
    assert np.abs(np.asarray(both.pictures[1], dtype=int) - drawn(second)).max() <= 1


def key(backbone: Flux, asked: StylizeRequest, styles: int = 1) -> Hashable:
    technique = registry.technique(asked.method)
    pictures = Pictures((picture(1),) * styles)
    return technique.batch_key(generation_inputs(asked, pictures, technique.spec, backbone.base), backbone)


@pytest.mark.parametrize(
    ("asked", "styles", "same"),
    [
        (request(steps=9, guidance_scale=7.0, seed=5, prompt="a boat", strength=0.7), 1, True),
        (request(params={**SHORT, "combine": "blend"}), 3, True),
        (request(width=80), 1, False),
        (request(width=48, height=64), 1, False),
        (request(params={"max_sequence_length": 17}), 1, False),
        (request(params={**SHORT, "downsampling_factor": 1}), 1, False),
        (request(), 2, False),
        (request(strength=0.0), 1, False),
        (request(strength=1.0), 1, False),
        (request(params={**SHORT, "control": "canny"}), 1, False),
    ],
)
def test_what_shares_a_batch(flux: Flux, asked: StylizeRequest, styles: int, same: bool) -> None:
    assert (key(flux, asked, styles) == key(flux, request())) is same


def test_the_length_of_the_text_that_is_meant_is_the_models_own(flux: Flux, tiny_root: Path) -> None:
    assert key(flux, request(params={})) == key(flux, request(params={"max_sequence_length": 512}))
    schnell = flux_of(tiny_root, "flux-schnell")
    assert key(schnell, request(params={})) == key(schnell, request(params={"max_sequence_length": 256}))


@pytest.mark.parametrize(
    ("params", "rows"), [(SHORT, 2), ({**SHORT, "true_cfg_scale": 1.0}, 2), ({**SHORT, "true_cfg_scale": 3.0}, 4)]
)
def test_rows_are_doubled_by_true_guidance_alone(
    engine: DiffusionEngine, flux: Flux, params: dict[str, Any], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, int]] = []
    estimate = flux.estimate_memory
    monkeypatch.setattr(flux, "estimate_memory", lambda **size: asked.append(size) or estimate(**size))
    one = item(request(num_images=2, guidance_scale=30.0, params=params))
    engine.run_batch([one])
    assert one.rows == rows
    assert asked == [{"rows": rows, "width": 64, "height": 48}]


def test_memory_is_estimated_for_the_whole_diptych(
    flux_fill: Flux, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, int]] = []
    estimate = flux_fill.estimate_memory
    monkeypatch.setattr(flux_fill, "estimate_memory", lambda **size: asked.append(size) or estimate(**size))
    [outcome] = engine_on(flux_fill, tiny_root).run_batch([item(request("redux-fill", guidance_scale=30.0))])
    assert drawn(outcome).shape == (48, 64, 3)
    assert asked == [{"rows": 1, "width": 128, "height": 48}]


def test_a_prompt_and_a_style_are_encoded_once(engine: DiffusionEngine, flux: Flux) -> None:
    t5, clip = flux.components["text_encoder_2"], flux.components["text_encoder"]
    engine.run_batch([item(request(prompt="another prompt"))])
    tower = flux.get_or_load(next(name for name in flux._residents if name.startswith("redux ")), dict)._tower
    with counted(t5, clip, tower) as calls:
        [warm] = engine.run_batch([item(request(prompt="another prompt", seed=7, steps=1, guidance_scale=9.0))])
        assert calls == []
        assert isinstance(warm, GenerationResult)
        assert warm.style_cache == "hit"
        engine.run_batch([item(request(prompt="another prompt", params={"max_sequence_length": 17}))])
        assert calls == [clip, t5]
        with patches.attribute(flux, "fingerprint", "with a LoRA"):
            engine.run_batch([item(request(prompt="another prompt"))])
        assert calls == [clip, t5] * 2, "Redux does not read the base model's weights"
        [other] = engine.run_batch([item(request(prompt="another prompt"), Pictures((picture(2),)))])
        assert calls[-1] is tower
        assert isinstance(other, GenerationResult)
        assert other.style_cache == "miss"


def test_prompts_are_kept_within_a_budget() -> None:
    built: list[str] = []
    kept = PromptCache(100, torch.device("cpu"))

    def get(name: str, numbers: int) -> None:
        kept.get(name, lambda: built.append(name) or {"text": torch.zeros(numbers)})

    for name, numbers in (("a", 10), ("b", 10), ("a", 10), ("c", 10), ("a", 10), ("b", 10), ("large", 26)):
        get(name, numbers)
        assert kept.tier.used <= 100
    assert built == ["a", "b", "c", "b", "large"]
    get("large", 26)
    assert built[-1] == "large"


@pytest.mark.parametrize(("params", "read"), [({}, PROMPT_TOKENS["flux"]), ({"max_sequence_length": 20}, 19)])
def test_the_end_of_a_text_that_t5_does_not_read_is_told(
    engine: DiffusionEngine, flux: Flux, params: dict[str, Any], read: int
) -> None:
    text = "a" * read  # a word's first letter and its beginning are one token
    assert engine.run_batch([item(request(prompt=text, params=params))])[0].warnings == ()  # type: ignore[union-attr]
    [outcome] = engine.run_batch([item(request(prompt=text + " boat", params=params))])
    assert isinstance(outcome, GenerationResult)
    [warning] = outcome.warnings
    assert warning.startswith(f"prompt is longer than the {read + 1} tokens that a text encoder of flux reads")
    assert warning.endswith("boat")


def test_a_preview_shows_what_is_expected_in_the_end(flux: Flux) -> None:
    """z - t v, whatever the step: of v = e - z_0 it is z_0 exactly."""
    drawing = torch.Generator().manual_seed(0)
    final, noise = (torch.randn(1, 16, 6, 8, generator=drawing) for _ in range(2))
    scheduler = flux.build_scheduler("euler", 4, width=64, height=48)
    assert isinstance(scheduler, FlowMatching)
    z = noise
    for timestep in scheduler.timesteps:
        z, estimate = scheduler.step(noise - final, timestep, z)
        torch.testing.assert_close(estimate, final)
    torch.testing.assert_close(z, final)


def test_a_preview_after_each_step(engine: DiffusionEngine, flux: Flux) -> None:
    shown: list[PreviewFrame] = []
    one = item(request(steps=3))
    one.on_preview = shown.append
    engine.run_batch([one])
    assert [frame.step for frame in shown] == [1, 2, 3]
    fitted = latent_preview.projection(flux)
    assert fitted is not None
    assert one.trajectory is not None
    last = shown[-1].draw()
    assert last is not None
    assert last.size == (8, 6)
    assert last.tobytes() == fitted.picture(one.trajectory.latents).tobytes()  # type: ignore[union-attr]
