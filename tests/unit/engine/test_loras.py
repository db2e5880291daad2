"""LoRAs of a request: what diffusers itself makes of them, gone without a trace, in no one else's batch or cache."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from model_store.add.add import add
from tests.support.techniques import lora_files
from tests.support.tiny.store import install_tiny_models
from tests.unit.engine.test_engine import STYLE, quiet, request
from workers.contract.spec import Lora
from workers.engine.backbones.load import load
from workers.engine.backbones.loras.stack import apply_loras
from workers.engine.backbones.pool import BackboneCache
from workers.engine.backbones.stable_diffusion import StableDiffusion
from workers.engine.cache.style_cache import StyleCache
from workers.engine.cache.tiers import MemoryTier
from workers.engine.engine import DiffusionEngine
from workers.engine.errors import NotFinite, Refused, WeightsMissing
from workers.engine.types import BatchItem
from workers.techniques import registry
from workers.worker.resources import loras, terms, weights

PIPELINES: dict[str, Any] = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
PROMPT = "a red house"
Maker = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return install_tiny_models(tmp_path / "store")


@pytest.fixture
def installed(tmp_path: Path, store: Path) -> Maker:
    """Write and add a LoRA for a model; returns its folder in the store."""

    def make(backbone: StableDiffusion, model: str, layout: str = "diffusers", **more: Any) -> Path:
        add(lora_files.write(layout, backbone.pipe, tmp_path / model, **more), model, store, base=backbone.base)
        return loras(store)(model, backbone.base)

    return make


def predicted(backbone: Any, pipe: Any) -> torch.Tensor:
    """Return what the UNet says of one latent under a prompt: text encoders and UNet in one number each."""
    both = pipe.encode_prompt(
        PROMPT, device=torch.device("cpu"), num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    added = None
    if backbone.base == "sdxl":
        added = {"text_embeds": both[2], "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        out = pipe.unet(latent, 500, encoder_hidden_states=both[0], added_cond_kwargs=added).sample
    return torch.cat([both[0].flatten(), out.flatten()])


def state(backbone: StableDiffusion) -> dict[str, tuple[int, torch.Tensor]]:
    parts = [getattr(backbone.pipe, part, None) for part in ("unet", "text_encoder", "text_encoder_2", "vae")]
    return {
        f"{n}.{name}": (parameter.data.data_ptr(), parameter.data.clone())
        for n, part in enumerate(parts)
        if part is not None
        for name, parameter in part.named_parameters()
    }


def unchanged(before: dict[str, tuple[int, torch.Tensor]], backbone: StableDiffusion) -> bool:
    after = state(backbone)
    return before.keys() == after.keys() and all(
        before[name][0] == after[name][0] and torch.equal(before[name][1], after[name][1]) for name in before
    )


@pytest.mark.parametrize("layout", lora_files.LAYOUTS)
def test_it_is_what_diffusers_makes_of_it(
    layout: str, backbone: StableDiffusion, installed: Maker, store: Path
) -> None:
    folder = installed(backbone, "ink", layout)
    before, plain = state(backbone), predicted(backbone, backbone.pipe)
    with apply_loras(backbone, [Lora(id="ink", scale=0.8)], loras(store)):
        ours = predicted(backbone, backbone.pipe)
    assert backbone.folder is not None
    theirs: Any = PIPELINES[backbone.base].from_pretrained(backbone.folder, local_files_only=True)
    theirs.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors", adapter_name="ink")
    theirs.set_adapters(["ink"], [0.8])
    torch.testing.assert_close(ours, predicted(backbone, theirs), rtol=0, atol=1e-4)
    assert (ours - plain).abs().max() > 1e-2, "or there is nothing to see"
    assert unchanged(before, backbone)
    assert torch.equal(predicted(backbone, backbone.pipe), plain)


def test_several_add_up_as_in_diffusers(sdxl: StableDiffusion, installed: Maker, store: Path) -> None:
    folders = {"ink": installed(sdxl, "ink", "kohya"), "chalk": installed(sdxl, "chalk", seed=11)}
    with apply_loras(sdxl, [Lora(id="ink", scale=0.5), Lora(id="chalk", scale=-1.25)], loras(store)):
        ours = predicted(sdxl, sdxl.pipe)
    assert sdxl.folder is not None
    theirs: Any = StableDiffusionXLPipeline.from_pretrained(sdxl.folder, local_files_only=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")
        for name, folder in folders.items():
            theirs.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors", adapter_name=name)
    theirs.set_adapters(["ink", "chalk"], [0.5, -1.25])
    torch.testing.assert_close(ours, predicted(sdxl, theirs), rtol=0, atol=1e-4)


def test_the_alpha_that_training_scripts_keep_in_the_header_counts(
    sd15: StableDiffusion, tiny_root: Path, store: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig

    pipe: Any = StableDiffusionPipeline.from_pretrained(tiny_root / "sd15", local_files_only=True)
    torch.manual_seed(5)
    pipe.unet.add_adapter(LoraConfig(r=4, lora_alpha=10, target_modules=["to_q", "to_v"], init_lora_weights=False))
    pipe.unet.save_lora_adapter(tmp_path / "saved")
    from diffusers.training_utils import _collate_lora_metadata
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(pipe.unet))
    metadata = _collate_lora_metadata({"unet": pipe.unet})
    StableDiffusionPipeline.save_lora_weights(tmp_path / "trained", layers, **metadata)
    add(tmp_path / "trained" / "pytorch_lora_weights.safetensors", "trained", store, base="sd15")
    with apply_loras(sd15, [Lora(id="trained")], loras(store)):
        ours = predicted(sd15, sd15.pipe)
    torch.testing.assert_close(ours, predicted(sd15, pipe), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_is_left_after_an_exception(dtype: torch.dtype, tiny_root: Path, installed: Maker, store: Path) -> None:
    backbone = load(tiny_root / "sd15", dtype=dtype)
    installed(backbone, "ink", "kohya")
    before, fingerprint, with_original_weights = state(backbone), backbone.fingerprint, backbone.with_original_weights
    with pytest.raises(ZeroDivisionError), apply_loras(backbone, [Lora(id="ink"), Lora(id="ink")], loras(store)):
        assert not unchanged(before, backbone)
        raise ZeroDivisionError
    assert unchanged(before, backbone)
    assert (backbone.fingerprint, backbone.with_original_weights) == (fingerprint, with_original_weights)
    with apply_loras(backbone, [Lora(id="ink", scale=0.0)], loras(store)):
        assert unchanged(before, backbone), "a scale of 0 is no LoRA"


def test_what_is_built_beside_the_model_sees_its_own_weights(tiny_root: Path, installed: Maker, store: Path) -> None:
    backbone = load(tiny_root / "sd15")
    installed(backbone, "ink")
    before, fingerprint = state(backbone), backbone.fingerprint
    with apply_loras(backbone, [Lora(id="ink")], loras(store)):
        changed = state(backbone)
        assert backbone.get_or_load(
            "witness", lambda: unchanged(before, backbone) and backbone.fingerprint == fingerprint
        )
        assert unchanged(changed, backbone)
        assert backbone.fingerprint != fingerprint


def test_what_is_missing_or_does_not_fit_is_refused(
    sd15: StableDiffusion, sdxl: StableDiffusion, installed: Maker, store: Path
) -> None:
    def using(model: str, backbone: StableDiffusion) -> None:
        with apply_loras(backbone, [Lora(id=model)], loras(store)):
            raise AssertionError

    with pytest.raises(WeightsMissing, match=r"no LoRA named 'ink'; installed for sd15: none .*stylize models add"):
        using("ink", sd15)
    installed(sd15, "ink")
    with pytest.raises(WeightsMissing, match=r"no LoRA named 'chalk'; installed for sd15: ink$"):
        using("chalk", sd15)
    with pytest.raises(Refused, match=r"the LoRA ink is for sd15, the base model is sdxl"):
        using("ink", sdxl)
    with pytest.raises(Refused, match=r"tiny-sd15 is no LoRA but of kind base"):
        using("tiny-sd15", sd15)
    before = state(sdxl)
    folder = loras(store)("ink", "sd15")
    unfit = apply_loras(sdxl, [Lora(id="ink")], lambda model, base: folder)
    with pytest.raises(Refused, match=r"does not fit sdxl: unet has no weight"), unfit:
        raise AssertionError
    assert unchanged(before, sdxl)


def engine_of(backbone: StableDiffusion, store: Path) -> DiffusionEngine:
    return DiffusionEngine(
        pool=BackboneCache(lambda model: backbone),
        cache=StyleCache([MemoryTier("host", 1 << 28)]),
        technique=registry.technique,
        weights=weights(store),
        find_lora=loras(store),
        terms=terms(store),
    )


def test_one_that_overflows_is_named(sd15: StableDiffusion, store: Path, tmp_path: Path) -> None:
    file = lora_files.write("diffusers", sd15.pipe, tmp_path / "huge", text=False)
    save_file({name: half * 1e16 for name, half in load_file(file).items()}, file)
    add(file, "huge", store, base="sd15")
    asked = request(params={"loras": [{"id": "huge"}]})
    with pytest.raises(NotFinite, match="sd15 with huge gave values that are not finite"):
        engine_of(sd15, store).stylize(asked, STYLE, watch=quiet)


def pixels(engine: DiffusionEngine, params: dict[str, Any], method: str) -> np.ndarray[Any, Any]:
    asked = request(method=method, params=params, width=128, height=128)
    return np.asarray(engine.stylize(asked, STYLE, watch=quiet).pictures[0]).astype(int)


@pytest.mark.parametrize("method", ["style-aligned", "signal-leak"])
def test_warm_styles_are_those_of_the_same_loras(
    method: str, sd15: StableDiffusion, installed: Maker, store: Path
) -> None:
    installed(sd15, "ink")
    params = {"loras": [{"id": "ink", "scale": 1.0}]}
    warm, cold = engine_of(sd15, store), engine_of(sd15, store)
    plain = pixels(warm, {}, method)
    first = pixels(warm, params, method)
    assert np.abs(first - plain).max() > 2
    assert np.array_equal(first, pixels(cold, params, method)), "not out of the cache of plain requests"
    assert np.array_equal(first, pixels(warm, params, method))
    assert np.array_equal(plain, pixels(warm, {}, method))


def test_only_requests_with_the_same_loras_share_a_batch(
    sd15: StableDiffusion, installed: Maker, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(sd15, "ink")
    engine, ran = engine_of(sd15, store), []
    monkeypatch.setattr(engine, "_observer", type("Seen", (), {"ran": lambda _, *facts: ran.append(facts[1])})())
    asked = [
        {},
        {"loras": [{"id": "ink"}]},
        {"loras": [{"id": "ink", "scale": 1}]},
        {"loras": [{"id": "ink", "scale": 0.5}]},
    ]
    works = [BatchItem(request(params=params, seed=9), STYLE, quiet) for params in asked]
    outcomes = [
        np.asarray(outcome.pictures[0]) for outcome in engine.run_batch(works) if not isinstance(outcome, Exception)
    ]
    assert sorted(ran) == [1, 1, 2]
    assert np.abs(outcomes[1].astype(int) - outcomes[2]).max() <= 1
    assert np.abs(outcomes[1].astype(int) - outcomes[0]).max() > 2


def test_a_missing_lora_fails_its_own_request_alone(sd15: StableDiffusion, store: Path) -> None:
    works = [BatchItem(request(params=params), STYLE, quiet) for params in ({}, {"loras": [{"id": "gone"}]})]
    good, bad = engine_of(sd15, store).run_batch(works)
    assert not isinstance(good, Exception)
    assert isinstance(bad, WeightsMissing)


def test_the_terms_of_all_that_made_a_picture_are_told(tiny_root: Path, installed: Maker, store: Path) -> None:
    backbone = load(tiny_root / "sd15", name="tiny-sd15")
    installed(backbone, "ink")
    params = {"loras": [{"id": "ink"}]}
    asked = request(model="tiny-sd15", params=params)
    told = engine_of(backbone, store).stylize(asked, STYLE, watch=quiet).licences
    assert [(one.id, one.kind, one.licence) for one in told] == [
        ("tiny-sd15", "base", "Apache-2.0"),
        ("ink", "lora", "unknown"),
        ("signal-leak", "method", ""),
    ]
    assert told[-1].notes == registry.spec("signal-leak").rights
    halves = engine_of(backbone, store).stylize(request(model="tiny-sd15", num_images=2), STYLE, watch=quiet).licences
    assert [one.id for one in halves] == ["tiny-sd15", "signal-leak"]


@pytest.mark.parametrize("name", registry.names())
def test_every_technique_takes_them_within_bounds(name: str) -> None:
    params = registry.spec(name).params
    assert "loras" in registry.spec(name).params_schema()["properties"]  # type: ignore[operator]
    assert params.model_validate_json('{"loras": [{"id": "ink"}]}').loras == (Lora(id="ink"),)
    for wrong in (
        '[{"id": "../x"}]',
        '[{"id": "a", "scale": 2.1}]',
        "[" + ",".join(['{"id": "a"}'] * 5) + "]",
        '["a"]',
    ):
        with ExitStack() as stack:
            stack.enter_context(pytest.raises(ValidationError))
            params.model_validate_json(f'{{"loras": {wrong}}}')
