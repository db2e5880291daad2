"""Do adapter, image encoder, text encoder and UNet belong together? Asked of their configurations, before any runs.

A wrong pair need not fail by its shapes: encoders of different CLIP models can have equal widths. So an encoder is
known by what it declares (`clip_model` in its config.json), or by the numbers of the public models, and only then by
its width.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from workers.engine.errors import ModelUnusable, Refused
from workers.techniques.encoder.adapter_file import BASE_TOKENS, AdapterFile
from workers.techniques.encoder.weights import VIT_BIGG, VIT_H

VIT_L = "ViT-L/14"
HEAD = 64
RESAMPLER_LAYERS = 4

KNOWN: Mapping[tuple[int, int, int, int], tuple[str, str]] = MappingProxyType(
    {
        # width, layers, heads, projection: which encoder of which model
        (1280, 32, 16, 1024): ("image", VIT_H),
        (1024, 24, 16, 1024): ("text", VIT_H),
        (1664, 48, 16, 1280): ("image", VIT_BIGG),
        (1280, 32, 20, 1280): ("text", VIT_BIGG),
        (1024, 24, 16, 768): ("image", VIT_L),
        (768, 12, 12, 768): ("text", VIT_L),
    }
)


def clip_model(encoder: Any) -> str | None:
    """Return which CLIP model an encoder's transformers configuration belongs to, or None when it does not say."""
    declared = getattr(encoder, "clip_model", None)
    if declared is not None:
        return str(declared)
    numbers = (encoder.hidden_size, encoder.num_hidden_layers, encoder.num_attention_heads, encoder.projection_dim)
    side = "image" if hasattr(encoder, "image_size") else "text"
    found_side, model = KNOWN.get(numbers, (None, None))
    return model if found_side == side else None


def check_image_encoder(adapter: AdapterFile, image: Any, *, clip: str | None) -> None:
    """Raise ModelUnusable unless the adapter reads the features of this image encoder; `clip` is the model it needs."""
    model = clip_model(image)
    if clip is not None and model is not None and model != clip:
        raise ModelUnusable(f"{adapter.path.name} was trained with the image encoder of {clip}, not with {model}")
    width = image.projection_dim if adapter.kind == "base" else image.hidden_size
    if adapter.feature_width != width:
        raise ModelUnusable(
            f"{adapter.path.name} reads image features {adapter.feature_width} wide, this image encoder's are {width}"
        )


def check_text_encoder(image: Any, text: Any) -> None:
    """Raise Refused unless both encoders' embeddings live in one space: only then may one be subtracted."""
    models = clip_model(image), clip_model(text)
    if models[0] != models[1]:
        seen, read = (model or "an unknown CLIP model" for model in models)
        raise Refused(
            f"content subtraction needs encoders of one CLIP model: images go through {seen}, text through {read}"
        )
    if image.projection_dim != text.projection_dim:
        raise Refused(
            "content subtraction needs encoders of one CLIP model: image embeddings are "
            f"{image.projection_dim} wide, text embeddings {text.projection_dim}"
        )


def check_unet(adapter: AdapterFile, unet: Any) -> None:
    """Raise ModelUnusable unless the adapter has keys and values for every cross-attention of this UNet."""
    width = unet.config.cross_attention_dim
    if adapter.token_width != width:
        raise ModelUnusable(
            f"{adapter.path.name} makes tokens {adapter.token_width} wide, the base model's attention reads {width}"
        )
    found = {name: tuple(tensor.shape) for name, tensor in adapter.ip_adapter.items()}
    expected = dict(_expected(unet, width))
    if found != expected:
        odd = sorted(found.items() ^ expected.items())[0][0]
        raise ModelUnusable(
            f"{adapter.path.name} is for another UNet: {odd} is missing, unexpected or of another shape"
        )
    check_projection(adapter)


def _expected(unet: Any, width: int) -> Iterator[tuple[str, tuple[int, int]]]:
    for position, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            inner = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            yield f"{position}.to_k_ip.weight", (inner, width)
            yield f"{position}.to_v_ip.weight", (inner, width)


def check_projection(adapter: AdapterFile) -> None:
    """Raise ModelUnusable for projections that diffusers would read wrongly without a word."""
    t = adapter.image_proj
    if adapter.kind == "base":
        if t["proj.weight"].shape[0] != BASE_TOKENS * adapter.token_width:
            raise ModelUnusable(f"{adapter.path.name} makes other than {BASE_TOKENS} tokens of an embedding")
        return
    layers = {int(name.split(".")[1]) for name in t if name.startswith("layers.")}
    if layers != set(range(RESAMPLER_LAYERS)):
        raise ModelUnusable(f"{adapter.path.name} has {len(layers)} resampler layers, {RESAMPLER_LAYERS} are supported")
    if t["layers.0.0.to_q.weight"].shape[0] % HEAD:
        raise ModelUnusable(f"{adapter.path.name} has resampler heads of another size than {HEAD}")
