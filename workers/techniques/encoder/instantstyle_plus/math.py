"""InstantStyle-Plus (arXiv 2407.00788): which block sees the style, and guidance by CSD."""

from torch import Tensor
from torch.nn.functional import interpolate

STYLE = ("up_blocks.0.attentions.1",)
CONTENT = ("block",)


def clean(x_t: Tensor, eps: Tensor, a_t: float) -> Tensor:
    """Return x_0 = (x_t - sqrt(1 - a_t) eps) / sqrt(a_t)."""
    return (x_t - (1 - a_t) ** 0.5 * eps) / a_t**0.5


def mixed(x_0: Tensor, x_t: Tensor, a_t: float) -> Tensor:
    """Return s = f x_0 + (1 - f) x_t with f = sqrt(1 - a_t): what is decoded and judged."""
    f = (1 - a_t) ** 0.5
    return f * x_0 + (1 - f) * x_t


def judged(signed: Tensor, side: int) -> Tensor:
    """Return pictures (n, 3, h, w) in -1..1 as (n, 3, side, side) in 0..1, the shorter side scaled, then the middle."""
    unit = (signed / 2 + 0.5).clamp(0, 1)
    h, w = unit.shape[-2:]
    short = min(h, w)
    size = (side * h // short, side * w // short)
    scaled = interpolate(unit, size, mode="bilinear", antialias=True, align_corners=False)
    top, left = round((size[0] - side) / 2), round((size[1] - side) / 2)
    return scaled[..., top : top + side, left : left + side]


def loss(style: Tensor, content: Tensor, references: tuple[Tensor, Tensor], scales: tuple[float, float]) -> Tensor:
    """Return L = -s_style <style, ref> - s_content <content, ref>, summed over rows; descriptors (n, d) normalised."""
    style_ref, content_ref = references
    return -scales[0] * (style * style_ref).sum() - scales[1] * (content * content_ref).sum()


def corrected(eps: Tensor, g: Tensor, a_t: float) -> Tensor:
    """Return eps - sqrt(1 - a_t) g, where g = -dL/dx_t."""
    return eps - (1 - a_t) ** 0.5 * g
