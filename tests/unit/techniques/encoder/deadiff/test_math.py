"""DEADiff's formulas on their own."""

import math as numbers

import pytest
import torch
from torch import Tensor

from workers.engine.backbones.stable_diffusion import StableDiffusion, unet_inputs
from workers.techniques.encoder.deadiff import checkpoint, math

EXECUTED = (
    *(f"down_blocks.{block}.attentions.{n}" for block in range(3) for n in range(2)),
    "mid_block.attentions.0",
    *(f"up_blocks.{block}.attentions.{n}" for block in range(1, 4) for n in range(3)),
)
"""The cross-attentions of SD1.5 in the order in which they run."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(heads: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]:
    q, k, v, k_i, v_i = (drawn(2, n, 8, seed=n + s) for s, n in enumerate((5, 7, 7, 3, 3)))
    return q, k, v, k_i, v_i, heads


def test_it_is_the_formula() -> None:
    q, k, v, k_i, v_i, _ = inputs()
    s = torch.tensor([0.3, 0.8])[:, None, None]
    text, image = ((q @ x.mT / numbers.sqrt(8)).exp() for x in (k, k_i))
    t, i = text.sum(2, keepdim=True), image.sum(2, keepdim=True)
    p = i / (t + i)
    assert torch.allclose(math.joint_attention(q, k, v, k_i, v_i, 1), (text @ v + image @ v_i) / (t + i), atol=1e-6)
    expected = (1 - s * p) * (text @ v) / t + s * p * (image @ v_i) / i
    assert torch.allclose(math.joint_attention(q, k, v, k_i, v_i, 1, s.flatten()), expected, atol=1e-6)


def test_heads_attend_on_their_own() -> None:
    q, k, v, k_i, v_i, _ = inputs()
    parts = [math.joint_attention(*(x[..., at : at + 4] for x in (q, k, v, k_i, v_i)), 1) for at in (0, 4)]
    assert torch.allclose(math.joint_attention(q, k, v, k_i, v_i, 2), torch.cat(parts, 2), atol=1e-6)


def test_a_share_of_one_is_the_published_attention_and_of_zero_the_text_alone() -> None:
    given = inputs(2)
    published = math.joint_attention(*given)
    assert torch.equal(math.joint_attention(*given, torch.ones(2)), published)
    q, k, v, _, _, heads = given
    alone = math.attention(q, k, v, heads)
    assert torch.equal(math.joint_attention(*given, torch.zeros(2)), alone)
    assert not torch.allclose(published, alone, atol=1e-2)


def test_zero_tokens_are_not_absent_tokens() -> None:
    q, k, v, k_i, v_i, heads = inputs(2)
    zeros = math.joint_attention(q, k, v, 0 * k_i, 0 * v_i, heads)
    absent = math.attention(q, k, v, heads)
    assert not torch.allclose(zeros, absent, atol=1e-2)


def test_the_fourth_to_the_eighth_layer_see_content(sd15: StableDiffusion) -> None:
    names = [f"{layer}.transformer_blocks.0.attn2.processor" for layer in EXECUTED]
    assert set(names) == set(checkpoint.layers(sd15.denoiser))
    assert [n for n, name in enumerate(names) if math.side_of(name) == "content"] == [4, 5, 6, 7, 8]


def test_layers_run_in_the_order_the_numbers_mean(sd15: StableDiffusion) -> None:
    ran: list[str] = []
    handles = [
        sd15.denoiser.get_submodule(name.removesuffix(".processor")).register_forward_pre_hook(
            lambda module, args, name=name: ran.append(name.split(".transformer_blocks")[0])
        )
        for name in checkpoint.layers(sd15.denoiser)
    ]
    text, _ = sd15.condition(("",), None, guided=False, width=64, height=64)
    with torch.no_grad():
        sd15.denoiser(torch.zeros(1, 4, 8, 8), torch.tensor(1), **unet_inputs(text))
    for handle in handles:
        handle.remove()
    assert tuple(ran) == EXECUTED


@pytest.mark.parametrize("store", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("run", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_only_went_through_coarser_stores_are_the_base_models_own(
    store: torch.dtype, run: torch.dtype
) -> None:
    weight = drawn(64, 64) * torch.logspace(-8, 1, 64)
    own, theirs = weight.to(run), weight.to(store)
    finer = store is torch.float32 or run is not torch.float32
    assert math.is_own(own, theirs) == finer
    assert not math.is_own(own, theirs * 1.02)


def test_a_base_model_that_was_stored_in_half_precision_is_the_same() -> None:
    weight = drawn(64, 64)
    assert math.is_own(weight.half().float(), weight)
    assert math.is_own(weight.half().float(), weight.half())


def test_rounding_to_half_precision_is_recognised_and_repeated() -> None:
    own = drawn(64, 64) * torch.logspace(-8, 1, 64)
    assert math.is_rounded(own, own.half())
    assert not math.is_rounded(own, own)
    assert torch.equal(math.rounded(own), own.half().float())
