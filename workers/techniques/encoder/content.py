"""What a style image must not say: a text's embedding from the text encoder of the image encoder's own CLIP model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from workers.engine.backbones.base import Backbone
from workers.engine.backbones.load import fingerprint
from workers.engine.cache.style_cache import key_of
from workers.engine.errors import Refused
from workers.engine.technique import PrepareContext
from workers.techniques.encoder import clip, compatibility
from workers.techniques.encoder.adapter import Adapter
from workers.techniques.encoder.clip import ClipTextEncoder
from workers.techniques.encoder.weights import SECOND_TEXT_ENCODER, installed_path


@dataclass(frozen=True)
class TextSource:
    """A text encoder that was found to fit; `encoder` loads it. `fingerprint` names its weights in cache keys."""

    fingerprint: str
    encoder: Callable[[], ClipTextEncoder]

    def embedding(self, text: str, context: PrepareContext) -> Tensor:
        """Return the embedding t (1, D) of a text, float32, not normalised; computed once per text."""
        key = key_of(
            what="text embedding", version=1, tower=self.fingerprint, text=text, dtype=str(context.backbone.dtype)
        )
        found = context.cache.get(key, lambda: {"embedding": self.encoder().embedding(text)})
        return found["embedding"].to(context.backbone.device)


def text_source(adapter: Adapter, context: PrepareContext) -> TextSource:
    """Return the text encoder whose embeddings may be subtracted from the adapter's image embeddings.

    It is the base model's second text encoder, or what came with base model and adapter (`text_projector/`), or an
    installed one. Raises Refused when it is of another CLIP model, or the adapter reads no embedding; WeightsMissing
    with the command that fetches it.
    """
    if adapter.kind == "plus":
        raise Refused(
            "content subtraction is not defined for plus adapters, which read patches; use params.adapter base"
        )
    published, backbone = adapter.files.published, context.backbone
    parts = backbone.components
    if published.text == SECOND_TEXT_ENCODER if published else SECOND_TEXT_ENCODER in parts:
        compatibility.check_text_encoder(adapter.image_config, parts[SECOND_TEXT_ENCODER].config)
        second = ClipTextEncoder(parts[SECOND_TEXT_ENCODER], parts["tokenizer_2"])
        return TextSource(backbone.fingerprint, lambda: second)
    if published is None:
        return _in_folder(adapter, *_own(backbone), backbone)
    assert published.text is not None, "only plus adapters have no text encoder"
    folder = installed_path(published.text, published.text, context)
    return _in_folder(adapter, folder, folder, backbone)


def _own(backbone: Backbone) -> tuple[Path, Path]:
    """Return the folders of the text encoder and tokenizer that came with the base model."""
    assert backbone.folder is not None, "an adapter was found there"
    folder = backbone.folder / "text_projector"
    if not folder.is_dir():
        raise Refused(
            f"{backbone.name} has no text encoder in the space of its image encoder: leave the content text out"
        )
    return folder, backbone.folder / "tokenizer"


def _in_folder(adapter: Adapter, folder: Path, tokenizer: Path, backbone: Backbone) -> TextSource:
    config = clip.text_config(folder)
    compatibility.check_text_encoder(adapter.image_config, config)
    return TextSource(fingerprint(folder), lambda: clip.get_text_encoder(folder, config, tokenizer, backbone))
