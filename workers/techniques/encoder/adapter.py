"""An IP-Adapter resident beside the base model: diffusers' projection and key and value layers, never installed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
from torch import Tensor
from transformers import CLIPVisionConfig

from workers.engine.backbones.base import Backbone
from workers.engine.backbones.load import fingerprint
from workers.engine.errors import ModelUnusable
from workers.techniques.encoder import adapter_file, compatibility
from workers.techniques.encoder.adapter_file import Kind
from workers.techniques.encoder.weights import AdapterFiles

KeysValues = dict[str, Tensor]
"""By layer name: keys and values in one tensor (2, tokens, width of the layer)."""


@dataclass(frozen=True)
class Adapter:
    """An adapter on the device of the base model, in its dtype. Layers are named as in `unet.attn_processors`."""

    files: AdapterFiles
    kind: Kind
    tokens: int
    fingerprint: str
    encoder_fingerprint: str
    image_config: CLIPVisionConfig
    projection: ImageProjection | IPAdapterPlusImageProjection
    layers: Mapping[str, IPAdapterAttnProcessor2_0]

    def project(self, features: Tensor) -> Tensor:
        """Return tokens (n, tokens, C) of image features (n, D) or (n, L, H) of any dtype."""
        weight = next(self.projection.parameters())
        return self.projection(features.to(weight.device, weight.dtype))

    def keys_values(self, tokens: Tensor) -> KeysValues:
        """Return every layer's keys and values of tokens (tokens, C)."""
        return {
            name: torch.stack([layer.to_k_ip[0](tokens), layer.to_v_ip[0](tokens)])
            for name, layer in self.layers.items()
        }


def get_or_load(files: AdapterFiles, backbone: Backbone) -> Adapter:
    """Return the adapter in a file, loaded and checked against UNet and image encoder on first use.

    Raises ModelUnusable when they do not belong together.
    """
    adapter: Adapter = backbone.get_or_load(f"ip-adapter {files}", lambda: _load(files, backbone))
    return adapter


def _load(files: AdapterFiles, backbone: Backbone) -> Adapter:
    file = adapter_file.read(files.adapter)
    try:
        image_config = CLIPVisionConfig.from_pretrained(files.image_encoder, local_files_only=True)
    except (OSError, ValueError) as broken:
        raise ModelUnusable(f"{files.image_encoder} holds no image encoder: {broken}") from broken
    compatibility.check_unet(file, backbone.denoiser)
    compatibility.check_image_encoder(file, image_config, clip=files.published.clip if files.published else None)
    projection = backbone.denoiser._convert_ip_adapter_image_proj_to_diffusers(dict(file.image_proj))
    processors = backbone.denoiser._convert_ip_adapter_attn_to_diffusers([file.state_dict()])
    layers = {name: _placed(layer, backbone) for name, layer in processors.items() if name.endswith("attn2.processor")}
    return Adapter(
        files=files,
        kind=file.kind,
        tokens=file.tokens,
        fingerprint=file.fingerprint,
        encoder_fingerprint=fingerprint(files.image_encoder, files.preprocessor),
        image_config=image_config,
        projection=_placed(projection, backbone),
        layers=layers,
    )


def _placed(module: Any, backbone: Backbone) -> Any:
    return module.to(backbone.device, backbone.dtype).eval().requires_grad_(False)
