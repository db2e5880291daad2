"""The text side: a CLIP tokenizer over our words, and a CLIP text encoder whose weights are built, not learned.

Every meaningful word has a vector of its own, orthogonal to all others. The first layer's heads, one per kind of word
(object, style, colour, place), copy the words of their kind that came before into every later token, so padding tokens
carry the whole prompt as they do in a trained CLIP. The remaining weights of the layers are zero.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from workers.training.starter.world.captions import FILLING_WORDS, WORD_KINDS

WIDTH = 128
HEADS = 4
TOKENS = 77
PROJECTION_DIM = 128  # of the space shared with the image encoder
GAIN = 1.5  # of the gathered words over the token itself
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer() -> CLIPTokenizer:
    """Each word of the world is one token; any other text falls back to byte pieces."""
    alphabet = list(_byte_alphabet().values())
    vocabulary = {piece: index for index, piece in enumerate(alphabet + [letter + "</w>" for letter in alphabet])}
    merges: list[tuple[str, str]] = []
    for word in _words():
        pieces = _merged([*word[:-1], word[-1] + "</w>"], merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            vocabulary.setdefault(pieces[0] + pieces[1], len(vocabulary))
            pieces = _merged(pieces, merges)
    for special in (BEGIN, END):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=cast(Any, merges), model_max_length=TOKENS)


def _merged(pieces: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding: join the pair of lowest rank until none is left."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while True:
        found = [(ranks[pair], i) for i, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not found:
            return pieces
        i = min(found)[1]
        pieces = [*pieces[:i], pieces[i] + pieces[i + 1], *pieces[i + 2 :]]


def _words() -> list[str]:
    return [*FILLING_WORDS, *(word for kind in WORD_KINDS.values() for word in kind)]


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def build_text_encoder(tokenizer: CLIPTokenizer, seed: int = 0) -> CLIPTextModelWithProjection:
    """The encoder with its built weights; only `text_projection` is left to train."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=PROJECTION_DIM,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModelWithProjection(config)
    with torch.no_grad():
        _write_weights(model, tokenizer, torch.Generator().manual_seed(seed))
    return model.eval().requires_grad_(False)


def _write_weights(model: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer, generator: torch.Generator) -> None:
    basis = _orthonormal_words(generator)
    table, first = basis[_word_count() :], 0
    embedding = torch.randn(len(tokenizer), len(table), generator=generator) @ table
    spans: list[torch.Tensor] = []
    for words in WORD_KINDS.values():
        spans.append(basis[first : first + len(words)])
        for word, vector in zip(words, spans[-1], strict=True):
            embedding[_token(tokenizer, word)] = vector
        first += len(words)
    begin, end = basis[-2], basis[-1]
    embedding[tokenizer.bos_token_id], embedding[tokenizer.eos_token_id] = begin, end
    embedding = embedding / embedding.norm(dim=1, keepdim=True) * WIDTH**0.5
    text = model.text_model
    text.embeddings.token_embedding.weight.copy_(embedding)
    text.embeddings.position_embedding.weight.zero_()
    for layer in text.encoder.layers:
        for linear in (
            layer.self_attn.q_proj,
            layer.self_attn.k_proj,
            layer.self_attn.v_proj,
            layer.self_attn.out_proj,
        ):
            linear.weight.zero_()
            linear.bias.zero_()
        layer.mlp.fc2.weight.zero_()
        layer.mlp.fc2.bias.zero_()
    _gather_words(text.encoder.layers[0].self_attn, spans, begin)


def _gather_words(attention: Any, spans: list[torch.Tensor], begin: torch.Tensor) -> None:
    """Head h attends to words of kind h (logit 40), else to the begin token (logit 20), whose value is zero."""
    width = WIDTH // HEADS
    scale = WIDTH**0.5  # length of a normalised token
    for head, span in enumerate(spans):
        rows = slice(head * width, (head + 1) * width)
        attention.q_proj.bias[head * width] = 40.0 * width**0.5
        attention.k_proj.weight[head * width] = (span.sum(dim=0) + 0.5 * begin) / scale
        attention.v_proj.weight[rows][: len(span)] = span
        attention.out_proj.weight[:, rows][:, : len(span)] = GAIN * span.T


def _orthonormal_words(generator: torch.Generator) -> torch.Tensor:
    """(WIDTH - 1, WIDTH) orthonormal rows, all of mean zero so that layer norm only scales them."""
    square = torch.randn(WIDTH, WIDTH, generator=generator)
    square[:, 0] = 1.0
    return torch.linalg.qr(square)[0].T[1:].contiguous()


def _word_count() -> int:
    return sum(len(words) for words in WORD_KINDS.values())


def _token(tokenizer: CLIPTokenizer, word: str) -> int:
    (token,) = tokenizer(word, add_special_tokens=False).input_ids
    return int(token)


def tokenise(tokenizer: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """(n, 77) token ids, padded with the end token as Stable Diffusion does."""
    ids = tokenizer(prompts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt").input_ids
    return torch.as_tensor(ids)


def write_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save in both layouts: `tokenizer.json`, and the older `vocab.json` with `merges.txt`."""
    tokenizer.save_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False, indent=0))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
