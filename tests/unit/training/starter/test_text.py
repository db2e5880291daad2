import pytest
import torch
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from workers.training.starter.networks.text import (
    TOKENS,
    WIDTH,
    build_text_encoder,
    build_tokenizer,
    tokenise,
    write_tokenizer,
)
from workers.training.starter.world.captions import WORD_KINDS, CaptionDropout, caption, dropped_caption


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


@pytest.fixture(scope="module")
def encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    return build_text_encoder(tokenizer)


def last_states(encoder: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer, *prompts: str) -> torch.Tensor:
    states = encoder(input_ids=tokenise(tokenizer, list(prompts))).last_hidden_state
    assert states.shape == (len(prompts), TOKENS, WIDTH)
    return torch.nn.functional.normalize(states[:, -1], dim=1)


def test_every_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for words in WORD_KINDS.values():
        assert len(words) <= 32
        for word in words:
            assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1


def test_unknown_words_fall_back_to_bytes(tokenizer: CLIPTokenizer) -> None:
    assert len(tokenizer("zebra Ω", add_special_tokens=False).input_ids) > 2


def test_the_saved_tokenizer_reads_back_the_same(tokenizer: CLIPTokenizer, tmp_path) -> None:
    write_tokenizer(tokenizer, tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    prompt = caption("house", "watercolour", "red", "left", "small")
    assert again(prompt).input_ids == tokenizer(prompt).input_ids
    assert (tmp_path / "vocab.json").exists()
    assert (tmp_path / "merges.txt").read_text().startswith("#version")


def test_padding_carries_the_words_of_the_prompt(encoder, tokenizer) -> None:
    house, cat, styled, swapped, empty = last_states(
        encoder, tokenizer, "a house", "a cat", "a house, neon style", "neon style, a house", ""
    )
    assert house @ styled > 0.7
    assert house @ styled > cat @ styled + 0.3
    assert torch.allclose(styled, swapped, atol=1e-4)
    assert (house - empty).norm() > 0.5


def test_words_are_mutually_orthogonal(encoder, tokenizer) -> None:
    ids = [tokenizer(word, add_special_tokens=False).input_ids[0] for kind in WORD_KINDS.values() for word in kind]
    vectors = torch.nn.functional.normalize(encoder.text_model.embeddings.token_embedding.weight[ids], dim=1)
    assert torch.allclose(vectors @ vectors.T, torch.eye(len(ids)), atol=1e-4)


def test_unknown_words_say_nothing(encoder, tokenizer) -> None:
    empty, unknown = last_states(encoder, tokenizer, "", "xyzzy")
    assert empty @ unknown > 0.98


def test_each_kind_of_word_drops_on_its_own() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    rates = CaptionDropout(empty=0.1, style=0.3, object=0.05)
    drawn = [dropped_caption(rng, rates, "cat", "neon", "red", "left", "small") for _ in range(2000)]
    assert 0.07 < sum(text == "" for text in drawn) / 2000 < 0.13
    assert any("cat" in text and "neon" not in text for text in drawn)
    assert any("cat" not in text and "neon" in text for text in drawn)
    assert sum("cat" in text for text in drawn) > 1600
    assert "a small red cat left, neon style" in drawn
