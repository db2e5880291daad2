"""The style images of a request as latents: covered, centre-cropped, encoded alone in float32."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from workers.engine.backbones.base import Backbone
from workers.engine.images import cover, digest, to_signed


def latents(images: Sequence[Image.Image], backbone: Backbone, width: int, height: int) -> Tensor:
    """Return the posterior modes of style images, scaled, float32 (N, C, h, w) on the CPU."""
    return torch.cat([backbone.encode(to_signed(cover(image, width, height))) for image in images]).cpu()


def facts(images: Sequence[Image.Image], backbone: Backbone, width: int, height: int) -> dict[str, Any]:
    """Return what those latents depend on, for a cache key."""
    return {
        "model": backbone.fingerprint,
        "images": [digest(image) for image in images],
        "size": [width, height],
    }
