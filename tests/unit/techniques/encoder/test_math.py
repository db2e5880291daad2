"""The formulas alone, and what they let the attention leave out."""

import pytest
import torch
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from torch import Tensor

from workers.engine.errors import Refused
from workers.techniques.encoder.attention import KeptImageAttention
from workers.techniques.encoder.blocks import selected
from workers.techniques.encoder.instantstyle import math as instantstyle
from workers.techniques.encoder.ip_adapter import math as ip_adapter


def test_the_mean_embedding_is_weighted_and_not_normalised() -> None:
    e = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert torch.allclose(ip_adapter.mean(e, (0.5, 0.5)), torch.tensor([[3.0, 5.0]]))
    assert torch.allclose(ip_adapter.mean(e, (0.25, 0.75)), torch.tensor([[4.0, 6.0]]))


def test_equal_weights_leave_the_values_as_they_are() -> None:
    V = torch.randn(12, 5)
    third = 1 / 3
    assert torch.allclose(ip_adapter.weighed(V, (third, third, third)), V)


def test_a_weight_multiplies_the_values_of_its_image_only() -> None:
    V = torch.ones(8, 2)
    found = ip_adapter.weighed(V, (0.75, 0.25))
    assert torch.equal(found[:4], torch.full((4, 2), 1.5))
    assert torch.equal(found[4:], torch.full((4, 2), 0.5))


def test_subtraction_broadcasts_one_text_over_all_images() -> None:
    e, t = torch.randn(3, 4), torch.randn(1, 4)
    assert torch.equal(instantstyle.subtracted(e, t, 0.5)[2], e[2] - 0.5 * t[0])


def test_the_blocks_of_each_mode() -> None:
    assert instantstyle.target_blocks("style", "sdxl") == ("up_blocks.0.attentions.1",)
    assert instantstyle.target_blocks("style+layout", "sdxl") == (
        "up_blocks.0.attentions.1",
        "down_blocks.2.attentions.1",
    )
    assert instantstyle.target_blocks("style", "sd15") == ("up_blocks.1",)
    assert instantstyle.target_blocks("style+layout", "sd15") == ("up_blocks.1", "down_blocks.2", "mid_block")
    assert instantstyle.target_blocks("all", "sd15") == ("block",)


def test_layers_are_chosen_by_parts_of_their_names() -> None:
    names = [f"{block}.attentions.0.transformer_blocks.0.attn2.processor" for block in ("down_blocks.2", "up_blocks.1")]
    assert selected(names, ("block",)) == tuple(names)
    assert selected(names, ("up_blocks.1", "nowhere")) == (names[1],)
    with pytest.raises(Refused, match=r"down_blocks\.2\.attentions\.0, up_blocks\.1\.attentions\.0"):
        selected(names, ("mid_block",))


@pytest.mark.parametrize("scale", [0.6, 0.0])
def test_kept_values_with_the_scale_folded_in_are_diffusers_own_attention(scale: float) -> None:
    torch.manual_seed(0)
    attention = Attention(query_dim=16, cross_attention_dim=8, heads=4, dim_head=4)
    theirs = IPAdapterAttnProcessor2_0(16, 8, num_tokens=[4], scale=[scale])
    x, text, tokens = torch.randn(2, 9, 16), torch.randn(2, 7, 8), torch.randn(2, 4, 8)

    def of(layer: torch.nn.Module) -> Tensor:
        kept: Tensor = layer(tokens)
        return kept

    kept = {"here": [torch.stack([of(theirs.to_k_ip[0]), scale * of(theirs.to_v_ip[0])])]}
    ours = KeptImageAttention(kept, "here", 1)
    assert torch.allclose(ours(attention, x, text), theirs(attention, x, (text, [tokens])), atol=1e-6)
