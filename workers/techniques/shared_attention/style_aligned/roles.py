"""Who is who in a denoising: what prepare leaves in `trajectory.extra`."""

from dataclasses import dataclass

from torch import Tensor

from workers.engine.backbones.controlnet import Control
from workers.engine.denoise import Trajectory
from workers.techniques.shared_attention.style_aligned import math
from workers.techniques.shared_attention.style_aligned.features import Features
from workers.techniques.shared_attention.style_aligned.options import Options


@dataclass(eq=False)
class ReferenceRole:
    """A trajectory that others follow. `path` (steps + 1, channels, h, w), noisiest first, is replayed where given."""

    path: Tensor | None = None
    offset: int = 0
    control: Control | None = None

    def correct(self, trajectory: Trajectory) -> None:
        """Put the latents back on the path, after `trajectory.step` steps."""
        if self.path is not None:
            latents = self.path[math.replayed(trajectory.step, self.offset)]
            trajectory.latents = latents[None].to(trajectory.latents.device, trajectory.latents.dtype)


@dataclass(eq=False)
class Follower:
    """A request's pictures: how strongly they follow which reference.

    Either `features` were recorded, or there is a `joint_reference` to denoise with it; neither at strength 0, when
    `options` is None. scale: factor on the reference's keys. shift: added to the logits of its columns, with the
    strength.
    """

    options: Options | None = None
    features: Features | None = None
    joint_reference: Trajectory | None = None
    w: float = 0.0
    scale: float = 1.0
    shift: float = 0.0
    control: Control | None = None


def follower(trajectory: Trajectory) -> Follower:
    """Return the role of a request's trajectory."""
    assert isinstance(trajectory.extra, Follower)
    return trajectory.extra


def reference(trajectory: Trajectory) -> ReferenceRole:
    """Return the role of a reference's trajectory."""
    assert isinstance(trajectory.extra, ReferenceRole)
    return trajectory.extra
