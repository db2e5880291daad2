"""Captions for training pictures, and the text encoder's states of them."""

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from workers.training.starter.networks.text import build_text_encoder, build_tokenizer, tokenise
from workers.training.starter.recipe import StarterConfig
from workers.training.starter.workspace import placed
from workers.training.starter.world.captions import dropped_caption
from workers.training.starter.world.picture import PictureSpec
from workers.training.starter.world.scene import build_scene


class Captioner:
    """Captions with dropout, and their hidden states."""

    def __init__(self, recipe: StarterConfig, device: torch.device) -> None:
        self.recipe = recipe
        self._scene_words: dict[tuple[str, int], tuple[str, str]] = {}
        self.tokenizer: CLIPTokenizer = build_tokenizer()
        self.encoder: CLIPTextModelWithProjection = placed(build_text_encoder(self.tokenizer), device)

    def caption(self, spec: PictureSpec, rng: np.random.Generator) -> str:
        """One caption for the picture, its words dropped at random."""
        place, size = self._place_and_size(spec) if self.recipe.dropout.place < 1 else ("", "")
        return dropped_caption(
            rng, self.recipe.dropout, spec.object_name, spec.style, spec.colour_word, place=place, size=size
        )

    def _place_and_size(self, spec: PictureSpec) -> tuple[str, str]:
        key = (spec.object_name, spec.scene_seed)
        if key not in self._scene_words:
            scene = build_scene(*key, self.recipe.placement)
            self._scene_words[key] = (scene.place_word, scene.size_word)
        return self._scene_words[key]

    @torch.no_grad()
    def encode(self, captions: list[str]) -> Tensor:
        """(n, 77, 128) hidden states."""
        ids = tokenise(self.tokenizer, captions).to(self.encoder.device)
        hidden: Tensor = self.encoder(input_ids=ids).last_hidden_state
        return hidden
