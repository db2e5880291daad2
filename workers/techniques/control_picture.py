"""The control picture of a request: the map that was posted, or one made of a photograph.

A map that was made is a picture of 8 bits before the model reads it: posting it in place of the photograph gives the
same result. It is kept by picture, size and what it was made with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from workers.engine.backbones.load import fingerprint
from workers.engine.cache.style_cache import key_of
from workers.engine.images import digest, from_signed, resized
from workers.engine.technique import GenerationInputs, PrepareContext
from workers.techniques.control_maps import canny, depth_map, get_depth_estimator
from workers.techniques.control_params import MADE, ControlParams

Facts = dict[str, Any]


@dataclass(frozen=True)
class ControlPicture:
    """The control picture of a request: an RGB map of the request's size, and whether it was made here."""

    image: Image.Image
    made: bool

    @property
    def shown(self) -> Image.Image | None:
        """What is kept with the job: a map that was made."""
        return self.image if self.made else None


def control_picture(inputs: GenerationInputs, params: ControlParams, context: PrepareContext) -> ControlPicture | None:
    """Return the map that a request is controlled by, None without one.

    It is the control picture, or made of it; without a control picture made of the content picture, when `control`
    names a kind that can be made. Raises WeightsMissing or ModelUnusable when the depth model is needed and cannot be
    had.
    """
    given, content = inputs.pictures.control, inputs.pictures.content
    if given is not None and params.control_source == "given":
        return ControlPicture(resized(given, inputs.width, inputs.height), made=False)
    photograph = content if given is None else given
    if photograph is None or params.control not in MADE:
        return None
    return ControlPicture(_kept_map(photograph, inputs, params, context), made=True)


def _kept_map(
    photograph: Image.Image, inputs: GenerationInputs, params: ControlParams, context: PrepareContext
) -> Image.Image:
    """Return the map of a picture at the request's size, from the cache where it was made before."""
    size = inputs.width, inputs.height
    make, facts = _maker(params, context)
    key = key_of(what="control map", kind=params.control, picture=digest(photograph), size=size, **facts)

    def build() -> dict[str, Tensor]:
        return {"map": _grey(make(resized(photograph, *size)))}

    grey = context.cache.get(key, build, of_style=False)["map"]
    return Image.fromarray(grey.cpu().numpy()).convert("RGB")


def _maker(params: ControlParams, context: PrepareContext) -> tuple[Callable[[Image.Image], Image.Image], Facts]:
    """Return what makes the map of a picture of the request's size, and what the map depends on beside the picture."""
    if params.control == "canny":
        low, high = params.low_threshold, params.high_threshold
        return (lambda image: canny(image, low, high)), {"thresholds": [low, high]}
    folder = context.weights(params.depth_model)

    def depth(image: Image.Image) -> Image.Image:
        estimator = get_depth_estimator(folder, context.backbone)
        found = estimator.depth(estimator.pixels(image))
        return Image.fromarray(from_signed(depth_map(found, image.width, image.height, params.depth_range))[0])

    return depth, {"weights": fingerprint(folder), "range": params.depth_range}


def _grey(image: Image.Image) -> Tensor:
    """Return a map, whose channels are equal, as uint8 (h, w)."""
    return torch.from_numpy(np.array(image)[:, :, 0].copy())
