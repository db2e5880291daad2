"""Maps of a picture's structure: edges by OpenCV, depth by a model of transformers, both as pictures.

Canny: thresholds on the RGB bytes, the strongest channel counts. Depth: near is bright.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import AutoConfig, AutoImageProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING

from model_store.errors import ModelStoreError
from model_store.load.component import load_component
from workers.engine.backbones.base import Backbone
from workers.engine.errors import ModelUnusable
from workers.engine.memory import require
from workers.engine.residency.plan import weight_bytes
from workers.techniques.control_params import DepthRange

ROUNDING = 1e-5
"""Differences of depth, as a share of it, that are rounding."""


def canny(image: Image.Image, low: int, high: int) -> Image.Image:
    """Return the edges of an RGB picture as a picture of its size: white on black, aperture 3, L1 gradient."""
    edges = cv2.Canny(np.asarray(image.convert("RGB")), low, high)
    return Image.fromarray(np.repeat(edges[:, :, None], 3, axis=2))


class DepthEstimator:
    """A depth model with its own preprocessing, by Pillow."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor

    def pixels(self, image: Image.Image) -> Tensor:
        """Return normalised pixel values (1, 3, h, w), float32 on the CPU."""
        return torch.as_tensor(self._processor(images=image.convert("RGB"), return_tensors="pt").pixel_values)

    @torch.no_grad()
    def depth(self, pixels: Tensor) -> Tensor:
        """Return depths (1, h, w) of pixel values, near is large."""
        found: Tensor = self._model(pixels.to(self._model.device, self._model.dtype)).predicted_depth
        return found.float()


def depth_map(depth: Tensor, width: int, height: int, depth_range: DepthRange) -> Tensor:
    """Return depths (1, h, w) as a map (1, 3, height, width) in -1..1, float32.

    `minmax` spreads them from the least to the most, whatever the model; `raw` is d / 127.5 - 1, as the authors' code
    takes the depths of its own model. A picture of one depth is all -1, also where scaling it left rounding errors.
    """
    d = interpolate(depth[None], size=(height, width), mode="bicubic", align_corners=False, antialias=True)
    if depth_range == "raw":
        signed = d / 127.5 - 1
    else:
        low, high = d.amin(), d.amax()
        flat = high - low <= ROUNDING * high.abs().maximum(low.abs())
        signed = torch.full_like(d, -1.0) if flat else 2 * (d - low) / (high - low) - 1
    return signed.expand(1, 3, height, width)


def get_depth_estimator(folder: Path, backbone: Backbone) -> DepthEstimator:
    """Return the depth model in a folder, resident beside the base model.

    Raises ModelUnusable when it is broken, or OutOfMemory.
    """
    found: DepthEstimator = backbone.get_or_load(f"depth {folder}", lambda: _load(folder, backbone))
    return found


def _load(folder: Path, backbone: Backbone) -> DepthEstimator:
    try:
        kind = MODEL_FOR_DEPTH_ESTIMATION_MAPPING[type(AutoConfig.from_pretrained(folder, local_files_only=True))]
        size = weight_bytes(folder, torch.float32)
        require(size, backbone.device, what="the depth model", remedy="it needs more memory, or fewer models")
        model: Any = load_component(folder, kind, device=backbone.device)
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    except (ModelStoreError, OSError, ValueError, KeyError) as broken:
        raise ModelUnusable(f"{folder} holds no depth model: {broken}") from broken
    return DepthEstimator(model, processor)
