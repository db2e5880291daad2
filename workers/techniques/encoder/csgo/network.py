"""CSGO resident beside the base model: projections, adapters, and a ControlNet that no other method can share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from torch import Tensor
from transformers import CLIPVisionConfig

from workers.engine.backbones import controlnet
from workers.engine.backbones.base import Backbone
from workers.engine.backbones.load import fingerprint
from workers.engine.errors import ModelUnusable, Refused
from workers.engine.technique import PrepareContext
from workers.techniques.encoder import compatibility
from workers.techniques.encoder.adapter_file import AdapterFile
from workers.techniques.encoder.csgo import checkpoint
from workers.techniques.encoder.csgo.math import Maps
from workers.techniques.encoder.csgo.spec import PUBLISHED_FOR
from workers.techniques.encoder.weights import VIT_BIGG, AdapterFiles, PublishedAdapter, adapter_in, installed_path

CHECKPOINTS = {32: "csgo", 16: "csgo-16"}
CONTROLNET = "controlnet-tile-sdxl-ttplanet"
IMAGE_ENCODER = "clip-vit-bigg"


@dataclass(frozen=True)
class CSGOFiles:
    """The files CSGO is made of; `controlnet` may lack the layers that it has from the base model's UNet."""

    checkpoint: AdapterFiles
    controlnet: Path


@dataclass(frozen=True)
class Network:
    """The method's own modules on the device of the base model, in its dtype."""

    files: AdapterFiles
    fingerprint: str
    encoder_fingerprint: str
    vision: CLIPVisionConfig
    content: IPAdapterPlusImageProjection
    style: IPAdapterPlusImageProjection
    content_in_unet: Maps
    style_in_unet: Maps
    style_in_controlnet: Maps
    controlnet: Any
    conv_in: torch.nn.Conv2d | None

    def project(self, projection: IPAdapterPlusImageProjection, features: Tensor) -> Tensor:
        """Return tokens (tokens, C) of image features (1, L, H) of any dtype."""
        weight = next(projection.parameters())
        return projection(features.to(weight.device, weight.dtype))[0]


def csgo_files(num_style_tokens: int, context: PrepareContext) -> CSGOFiles:
    """Return the files: the base model's own if its folder has them, else the installed ones.

    Raises WeightsMissing with the command that fetches what is not there, Refused when none are published for the base.
    """
    if (own := csgo_files_beside(context.backbone)) is not None:
        return own
    if context.backbone.base != PUBLISHED_FOR:
        raise Refused(
            f"CSGO is published for {PUBLISHED_FOR} only, and {context.backbone.name} has no csgo weights of its own"
        )
    model = CHECKPOINTS[num_style_tokens]
    published = PublishedAdapter(model, IMAGE_ENCODER, VIT_BIGG, None)
    return CSGOFiles(
        checkpoint=AdapterFiles(
            adapter=adapter_in(installed_path(model, model, context)),
            image_encoder=installed_path(IMAGE_ENCODER, model, context),
            published=published,
        ),
        controlnet=installed_path(CONTROLNET, CONTROLNET, context),
    )


def csgo_files_beside(backbone: Backbone) -> CSGOFiles | None:
    """Return the base model's own files, or None: `csgo/*.safetensors`, `controlnet-tile/` and `image_encoder/`."""
    folder = backbone.folder
    if folder is None or not (files := sorted((folder / "csgo").glob("*.safetensors"))):
        return None
    checkpoint_files = AdapterFiles(files[0], folder / "image_encoder", None, folder / "feature_extractor")
    return CSGOFiles(checkpoint_files, folder / "controlnet-tile")


def get_or_load(files: CSGOFiles, backbone: Backbone) -> Network:
    """Return the network in files, loaded and checked against base model and image encoder on first use.

    Raises ModelUnusable, naming the tensor, when they do not belong together.
    """
    network: Network = backbone.get_or_load(f"csgo {files}", lambda: _load(files, backbone))
    return network


def _load(files: CSGOFiles, backbone: Backbone) -> Network:
    checkpoint_files, unet = files.checkpoint, backbone.denoiser
    stored = checkpoint.read(checkpoint_files.adapter)
    stored.check_unet(unet)
    vision = _vision(checkpoint_files.image_encoder)
    for projection in (stored.content, stored.style):
        compatibility.check_image_encoder(
            projection, vision, clip=checkpoint_files.published.clip if checkpoint_files.published else None
        )
    net = controlnet.load(files.controlnet, backbone, completed=checkpoint_files.published is None)
    adapters = stored.style_in_controlnet(net)
    net.load_state_dict(stored.controlnet_values(net), strict=False)
    return Network(
        files=checkpoint_files,
        fingerprint=f"{stored.style.fingerprint} {fingerprint(files.controlnet)}",
        encoder_fingerprint=fingerprint(checkpoint_files.image_encoder),
        vision=vision,
        content=_projection(stored.content, backbone),
        style=_projection(stored.style, backbone),
        content_in_unet=_placed(stored.content_in_unet(unet), backbone),
        style_in_unet=_placed(stored.style_in_unet(unet), backbone),
        style_in_controlnet=_placed(adapters, backbone),
        controlnet=net,
        conv_in=_module(checkpoint.conv_in(stored, unet), backbone),
    )


def _vision(folder: Path) -> CLIPVisionConfig:
    try:
        return CLIPVisionConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as broken:
        raise ModelUnusable(f"{folder} holds no image encoder: {broken}") from broken


def _projection(stored: AdapterFile, backbone: Backbone) -> Any:
    """Return diffusers' resampler of a projection."""
    return _module(backbone.denoiser._convert_ip_adapter_image_proj_to_diffusers(dict(stored.image_proj)), backbone)


def _module(module: Any, backbone: Backbone) -> Any:
    if module is None:
        return None
    return module.to(backbone.device, backbone.dtype).eval().requires_grad_(False)


def _placed(maps: Maps, backbone: Backbone) -> Maps:
    where: Any = {"device": backbone.device, "dtype": backbone.dtype}
    return {name: (to_k.to(**where), to_v.to(**where)) for name, (to_k, to_v) in maps.items()}
