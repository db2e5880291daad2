"""Pictures <-> tensors. A picture is a PIL image in mode RGB or an RGB uint8 array (h, w, 3)."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Pixels = NDArray[np.uint8]


def to_signed(image: Image.Image) -> Tensor:
    """Return an RGB picture as float32 (1, 3, h, w) in -1..1."""
    return to_unit(image).sub(0.5).div(0.5)


def to_unit(image: Image.Image) -> Tensor:
    """Return an RGB picture as float32 (1, 3, h, w) in 0..1."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.uint8))
    return pixels.permute(2, 0, 1)[None].to(torch.float32).div(255)


def from_signed(pixels: Tensor) -> list[Pixels]:
    """Return (n, 3, h, w) in -1..1, clamped and rounded, as n RGB uint8 arrays (h, w, 3)."""
    unit = pixels.float().div(2).add(0.5).clamp(0, 1)
    rows = unit.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return list(rows)


def cover(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the picture scaled (bilinear, antialiased) until it covers the size, then cropped in the middle.

    For a square size this is: the shorter side becomes that size, the other `int(size * long / short)`; offsets are
    rounded halves.
    """
    across, down = image.size
    if across * height <= down * width:
        size = (width, int(width * down / across))
    else:
        size = (int(height * across / down), height)
    scaled = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    left, top = round((scaled.width - width) / 2), round((scaled.height - height) / 2)
    return scaled.crop((left, top, left + width, top + height))


def resized(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the picture in RGB, squashed to a size (Lanczos)."""
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def digest(image: Image.Image) -> str:
    """Return the sha256 of a picture's size and RGB pixels: the same for any file format that shows the same."""
    rgb = image.convert("RGB")
    return hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode() + rgb.tobytes()).hexdigest()
