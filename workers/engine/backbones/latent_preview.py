"""What a request is becoming, small: latents to colours by a linear map that is fitted to the VAE when it is loaded.

Fitted to the VAE that is there, the map needs no table of factors per model and holds for any model.
"""

import logging
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from workers.engine.backbones.base import Backbone
from workers.engine.denoise import Trajectory
from workers.engine.images import from_signed
from workers.engine.types import PreviewFrame

log = logging.getLogger(__name__)

CELLS, PATCHES = 16, 8
"""The fit looks at pictures of CELLS x CELLS latent cells, in which PATCHES x PATCHES values blend into each other."""


@dataclass(frozen=True)
class Projection:
    """weights (3, channels) and offset (3), float32 on the CPU: one cell to red, green, blue in -1..1."""

    weights: Tensor
    offset: Tensor

    def picture(self, cells: Tensor) -> Image.Image | None:
        """Return the first of cells (n, channels, h, w) as an RGB picture of w x h pixels. From any thread.

        None where they are not finite: there is nothing to be seen.
        """
        with torch.inference_mode():
            z = cells[0].to("cpu", torch.float32)
            signed = torch.einsum("rc,chw->rhw", self.weights, z) + self.offset[:, None, None]
            return Image.fromarray(from_signed(signed[None])[0]) if signed.isfinite().all() else None


def projection(backbone: Backbone) -> Projection | None:
    """Return the backbone's own map, fitted when it is first asked for; None where none can be fitted."""
    fitted: Projection | None = backbone.get_or_load("previews", lambda: fit(backbone))
    return fitted


@torch.no_grad()
def fit(backbone: Backbone) -> Projection | None:
    """Return the linear map that comes nearest, in least squares, to what the VAE decodes.

    None when the VAE gives values that are not finite. It looks at the latents of a picture of blended colours, and at
    latents that are blended noise.
    """
    colours = _blended(3, CELLS * backbone.vae_factor).mul(2).sub(1)
    noise = torch.special.ndtri(_blended(backbone.latent_channels, CELLS).clamp(0.01, 0.99)).to(backbone.device)
    latents = [backbone.encode(colours), noise]
    decoded = [backbone.decode(z) for z in latents]
    cells = [backbone.preview_cells(z) for z in latents]
    colour = [avg_pool2d(rgb, rgb.shape[3] // z.shape[3]) for rgb, z in zip(decoded, cells, strict=True)]
    z, rgb = (torch.cat([_rows(each) for each in both]) for both in (cells, colour))
    if not (z.isfinite().all() and rgb.isfinite().all()):
        log.warning("no previews of %s: its VAE gives values that are not finite", backbone.name)
        return None
    solution = torch.linalg.lstsq(torch.cat([z, torch.ones(len(z), 1)], dim=1), rgb, driver="gelsd").solution.float()
    return Projection(solution[:-1].T.contiguous(), solution[-1])


def _rows(cells: Tensor) -> Tensor:
    """Return (1, channels, h, w) as (h w, channels), float64 on the CPU."""
    return cells[0].flatten(1).T.to("cpu", torch.float64)


def _blended(channels: int, side: int) -> Tensor:
    """Return (1, channels, side, side) of random values 0..1 that blend into each other; always the same."""
    drawn = torch.rand(1, channels, PATCHES, PATCHES, generator=torch.Generator("cpu").manual_seed(0))
    return interpolate(drawn, size=(side, side), mode="bilinear", align_corners=True)


def frame(backbone: Backbone, trajectory: Trajectory, step: int) -> PreviewFrame | None:
    """Return what a trajectory is becoming, drawn later: the step itself only keeps its tensors alive."""
    fitted = projection(backbone)
    if fitted is None:
        return None
    latents = trajectory.latents if trajectory.estimate is None else trajectory.estimate
    return PreviewFrame(step, partial(_draw, backbone, fitted, latents[..., trajectory.beside :]))


@torch.inference_mode()
def _draw(backbone: Backbone, fitted: Projection, latents: Tensor) -> Image.Image | None:
    return fitted.picture(backbone.preview_cells(latents[:1].to("cpu", torch.float32)))
