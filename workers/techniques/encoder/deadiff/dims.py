"""The sizes of DEADiff's readers: the published ones, or those in a `dims.json` beside the weights."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, model_validator
from transformers import CLIPVisionConfig, InstructBlipQFormerConfig

from workers.engine.errors import ModelUnusable

FILE = "dims.json"


class DimsModel(BaseModel):
    """Immutable sizes of one part."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Vision(DimsModel):
    """The image encoder: CLIP ViT-L/14 without its last layer."""

    image_size: PositiveInt = 224
    patch_size: PositiveInt = 14
    width: PositiveInt = 1024
    layers: PositiveInt = 23
    heads: PositiveInt = 16
    act: str = "quick_gelu"
    layer_norm_eps: PositiveFloat = 1e-5

    def config(self) -> CLIPVisionConfig:
        """Return it as transformers takes it."""
        return CLIPVisionConfig(
            image_size=self.image_size,
            patch_size=self.patch_size,
            hidden_size=self.width,
            intermediate_size=4 * self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            hidden_act=self.act,
            layer_norm_eps=self.layer_norm_eps,
        )


class QFormer(DimsModel):
    """The Q-Former: BERT-base with cross-attention in every layer."""

    hidden_size: PositiveInt = 768
    layers: PositiveInt = 12
    heads: PositiveInt = 12
    intermediate_size: PositiveInt = 3072
    vocab_rows: PositiveInt = 30523
    layer_norm_eps: PositiveFloat = 1e-12
    cross_attention_frequency: PositiveInt = 1
    act: str = "gelu"

    def config(self, vision: Vision, positions: int) -> InstructBlipQFormerConfig:
        """Return it as transformers takes it, for a number of text positions."""
        return InstructBlipQFormerConfig(
            vocab_size=self.vocab_rows,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate_size,
            hidden_act=self.act,
            max_position_embeddings=positions,
            layer_norm_eps=self.layer_norm_eps,
            cross_attention_frequency=self.cross_attention_frequency,
            encoder_hidden_size=vision.width,
        )


class ProjectorDims(DimsModel):
    """The residual layers between Q-Former and attention; as wide as the Q-Former."""

    hidden: PositiveInt = 3072
    act: Literal["quick_gelu"] = "quick_gelu"
    layer_norm_eps: PositiveFloat = 1e-12


Word = tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
"""A word as the Q-Former's word table numbers it: start, word, end."""


class Words(DimsModel):
    """The two words a Q-Former is told, as bert-base-uncased numbers them; a small model may have fewer words."""

    style: Word = (101, 2806, 102)
    content: Word = (101, 4180, 102)


class Dims(DimsModel):
    """All of it."""

    num_query_tokens: PositiveInt = 16
    vision: Vision = Vision()
    qformer: QFormer = QFormer()
    projector: ProjectorDims = ProjectorDims()
    words: Words = Words()

    @model_validator(mode="after")
    def _words_are_in_the_table(self) -> "Dims":
        if max(self.words.style + self.words.content) >= self.qformer.vocab_rows:
            raise ValueError(f"words are numbered past the {self.qformer.vocab_rows} rows of qformer.vocab_rows")
        return self


def read(folder: Path) -> Dims:
    """Return the sizes stated beside the weights, else the published ones. Raises ModelUnusable."""
    file = folder / FILE
    try:
        return Dims.model_validate_json(file.read_bytes()) if file.is_file() else Dims()
    except (OSError, ValidationError) as broken:
        raise ModelUnusable(f"{file}: {broken}") from broken
