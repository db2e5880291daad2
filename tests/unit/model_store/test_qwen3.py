"""Qwen3 as FLUX.2 reads it: what is left of the published 4B, and which stored weights are passed over."""

import pytest
from accelerate import init_empty_weights
from transformers import Qwen3Config, Qwen3ForCausalLM

from model_store.load.component import _expected, _renaming
from model_store.load.qwen3 import Qwen3TextLayers


def published() -> Qwen3Config:
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )


def test_27_of_36_layers_are_built_and_the_others_weights_passed_over() -> None:
    config = published()
    with init_empty_weights():
        whole, cut = Qwen3ForCausalLM(config), Qwen3TextLayers(config)
    assert config.num_hidden_layers == 36
    assert sum(p.numel() for p in whole.model.parameters()) / 1e9 == pytest.approx(4.02, abs=0.01)
    assert sum(p.numel() for p in cut.parameters()) / 1e9 == pytest.approx(3.11, abs=0.01)
    expected = _expected(cut)
    rename = _renaming(cut, set(expected), ())
    names = {name: rename(name) for name in whole.state_dict()}
    assert {name for name in names.values() if name is not None} == set(expected)
    assert names["model.layers.26.mlp.up_proj.weight"] == "layers.26.mlp.up_proj.weight"
    assert names["model.layers.27.mlp.up_proj.weight"] is names["model.norm.weight"] is names["lm_head.weight"] is None
