"""From the two pictures to the keys and values that the attentions are given, each kept in the style cache."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image
from torch import Tensor

from workers.engine.cache.style_cache import key_of
from workers.engine.images import digest
from workers.engine.technique import PrepareContext
from workers.techniques.encoder import image_prompt
from workers.techniques.encoder.adapter import KeysValues
from workers.techniques.encoder.csgo import math
from workers.techniques.encoder.csgo.network import Network
from workers.techniques.encoder.csgo.spec import SPEC

Role = Literal["content", "style"]


@dataclass(frozen=True)
class TokenCounts:
    """Keys and values of one picture by layer, in the UNet and in the ControlNet."""

    unet: KeysValues
    controlnet: KeysValues


def tokens(role: Role, image: Image.Image | None, network: Network, context: PrepareContext) -> Tensor:
    """Return the tokens (tokens, C) of a picture in its role, or of none: of zero features."""
    features = math.nothing(network.vision)
    if image is not None:
        features = image_prompt.encoded(
            image, network.files, network.encoder_fingerprint, "plus", context, of_style=role == "style"
        )
    return network.project(network.style if role == "style" else network.content, features)


def seen(role: Role, image: Image.Image | None, network: Network, context: PrepareContext) -> TokenCounts:
    """Return the keys and values of a picture in its role, or of none, built once per picture."""
    key = key_of(
        technique=SPEC.name,
        version=SPEC.version,
        role=role,
        checkpoint=network.fingerprint,
        encoder=network.encoder_fingerprint,
        image=None if image is None else digest(image),
        dtype=str(context.backbone.dtype),
    )

    nets = {"unet": network.style_in_unet, "controlnet": network.style_in_controlnet}
    if role == "content":
        nets = {"unet": network.content_in_unet, "controlnet": {}}

    def build() -> KeysValues:
        found = tokens(role, image, network, context)
        made = {net: math.keys_values(maps, found) for net, maps in nets.items()}
        return {f"{net} {layer}": both for net, layers in made.items() for layer, both in layers.items()}

    kept = context.cache.get(key, build, of_style=role == "style")
    device = context.backbone.device
    return TokenCounts(
        **{net: {layer: kept[f"{net} {layer}"].to(device) for layer in maps} for net, maps in nets.items()}
    )
