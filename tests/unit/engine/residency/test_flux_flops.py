"""What an evaluation of the real FLUX models costs, counted on the meta device; weights are not needed.

Blocks of a kind cost the same, so a case is counted on one block of each kind and one more of either.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import Flux2Transformer2DModel, FluxTransformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.published import flux, flux2
from workers.engine.backbones.flux import Flux
from workers.engine.backbones.flux_control_lora import ControlLora, control_branches, read_control_lora

BF16 = torch.bfloat16
TFLOP = 1e12
REDUX, REDUX_2, REDUX_3 = 729, 14**2, 9**2
COST: Mapping[str, tuple[int, int, float]] = {
    "plain": (4096, 512, 74.38),
    "t5-256": (4096, 256, 69.5),
    "redux": (4096, 512 + REDUX, 88.9),
    "redux-f2": (4096, 512 + REDUX_2, 78.2),
    "redux-f3": (4096, 512 + REDUX_3, 76.0),
    "two-references": (4096, 512 + 2 * REDUX, 104.1),
    "two-references-f3": (4096, 512 + 2 * REDUX_3, 77.5),
    "diptych-768": (2 * 48**2, 512 + REDUX, 99.5),
    "diptych-768-f3": (2 * 48**2, 512 + REDUX_3, 86.1),
    "diptych-1024": (2 * 4096, 512 + REDUX, 184.2),
    "768": (48**2, 512, 41.9),
    "512": (32**2, 512, 21.5),
    "512-redux": (32**2, 512 + REDUX, 32.9),
}
"""Tokens of the picture, tokens beside them, TFLOP."""


def built(kind: Any, config: Mapping[str, Any], **changed: Any) -> Any:
    with init_empty_weights():
        return kind.from_config({**config, **changed}).to(BF16)


def flops(model: Any, tokens: int, text: int) -> float:
    """Return the TFLOP of one evaluation of a model of either generation."""
    second = isinstance(model, Flux2Transformer2DModel)
    axes = 4 if second else 3
    with torch.device("meta"):
        inputs = {
            "hidden_states": torch.empty(1, tokens, model.config.in_channels, dtype=BF16),
            "encoder_hidden_states": torch.empty(1, text, model.config.joint_attention_dim, dtype=BF16),
            "timestep": torch.empty(1),
            "guidance": None if second else torch.empty(1),
            "img_ids": torch.empty(*([1] if second else []), tokens, axes),
            "txt_ids": torch.empty(*([1] if second else []), text, axes),
        }
        if not second:
            inputs["pooled_projections"] = torch.empty(1, flux.POOLED, dtype=BF16)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(**inputs, return_dict=False)
    return counter.get_total_flops() / TFLOP


Count = Callable[[int, int], float]


def counted(kind: Any, config: Mapping[str, Any]) -> Count:
    """Return what counts an evaluation of the whole model."""
    small = [built(kind, config, num_layers=a, num_single_layers=b) for a, b in ((1, 1), (2, 1), (1, 2))]

    def count(tokens: int, text: int) -> float:
        least, double, single = (flops(model, tokens, text) for model in small)
        return (
            least + (config["num_layers"] - 1) * (double - least) + (config["num_single_layers"] - 1) * (single - least)
        )

    return count


@pytest.fixture(scope="module")
def dev() -> Count:
    return counted(FluxTransformer2DModel, flux.TRANSFORMER)


@pytest.mark.parametrize("case", COST)
def test_an_evaluation_costs_what_the_table_says(case: str, dev: Count) -> None:
    tokens, text, tflop = COST[case]
    assert dev(tokens, text) == pytest.approx(tflop, rel=0.01)


@pytest.mark.parametrize("form", ["flux1-fill", "flux1-canny"])
def test_what_is_read_beside_the_latents_costs_next_to_nothing(form: str) -> None:
    count = counted(FluxTransformer2DModel, flux.TRANSFORMER | flux.FORMS[form])
    assert count(4096, 512) == pytest.approx(74.4, rel=0.01)


@pytest.mark.parametrize(
    ("reference_tokens", "tflop"), [(0, 34.8), (1024, 44.3), (2304, 57.1), (4096, 76.7), (8192, 128.9), (12288, 191.4)]
)
def test_an_evaluation_of_klein_costs_what_the_table_says(reference_tokens: int, tflop: float) -> None:
    count = counted(Flux2Transformer2DModel, flux2.TRANSFORMER_4B)
    assert count(4096 + reference_tokens, 512) == pytest.approx(tflop, rel=0.01)


def test_the_published_control_lora_fits_layer_by_layer_and_costs_four_percent(tmp_path: Path) -> None:
    transformer = built(FluxTransformer2DModel, flux.TRANSFORMER)
    pipe = SimpleNamespace(transformer=transformer, scheduler=SimpleNamespace(config={}))
    backbone = Flux(pipe, name="flux1-dev", base="flux", fingerprint="", dtype=BF16)
    flux.write_hollow(flux.control_lora_shapes(), tmp_path / "lora.safetensors")
    lora: ControlLora = read_control_lora(tmp_path / "lora.safetensors", backbone)
    linear = {name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)}
    assert set(lora.branches) == linear
    assert len(lora.norms) == 19 * 4 + 38 * 2
    plain = flops(transformer, 4096, 512)
    transformer.register_to_config(in_channels=128)  # of what it reads now, the map's latents are half
    with control_branches(backbone, lora, 0.85):
        branched = flops(transformer, 4096, 512)
    assert (plain, branched) == pytest.approx((74.38, 77.4), rel=0.01)
    assert branched - plain == pytest.approx(3.04, rel=0.02)
