"""Which rows of the call under way follow which reference: where the processors look things up."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.engine.denoise import DenoiserCall, Rows, Trajectory
from workers.techniques.shared_attention.style_aligned.features import Features
from workers.techniques.shared_attention.style_aligned.roles import Follower


@dataclass(frozen=True)
class RowPart:
    """Rows that follow one reference: recorded `features` at a step, or the row `lead` of the same call.

    `own` is True for a reference that is denoised jointly: it follows itself.
    """

    rows: slice
    half: int
    step: int
    features: Features | None
    lead: int
    own: bool
    w: float
    scale: float
    shift: float

    def reference(self, name: str, live: Tensor) -> Tensor:
        """Return the reference's feature: recorded under `name`, or its row of the call's own `live` (rows, ...)."""
        return live[self.lead] if self.features is None else self.features.at(name, self.step, self.half)


class ReferenceRows:
    """The rows of the current call. One object serves one denoising."""

    def __init__(self) -> None:
        self.parts: tuple[RowPart, ...] = ()
        self.w = torch.empty(0)
        self.shifts = torch.empty(0)
        self.scales = torch.empty(0)

    def arrange(self, call: DenoiserCall) -> None:
        """Note a call's rows: followers, and references that are denoised jointly."""
        leads = {(rows.trajectory, rows.conditional): rows.start for rows in call.rows}
        self.parts = tuple(_part(rows, leads) for rows in call.rows)
        self.w = self._column([part.w for part in self.parts], call.sample)
        self.shifts = self._column([part.shift for part in self.parts], call.sample)
        self.scales = self._column([part.scale for part in self.parts], call.sample)

    def _column(self, values: Sequence[float], sample: Tensor) -> Tensor:
        counts = torch.tensor([part.rows.stop - part.rows.start for part in self.parts])
        return torch.tensor(values).repeat_interleave(counts)[:, None, None].to(sample.device)

    @property
    def shifted(self) -> bool:
        """True when any row's reference columns weigh more or less than its own."""
        return any(part.shift for part in self.parts)

    @property
    def scaled(self) -> bool:
        """True when any row's reference keys are scaled."""
        return any(part.scale != 1 for part in self.parts)

    def reference(self, name: str, live: Tensor) -> Tensor:
        """Return every row's reference feature (rows, ...); `live` is the call's own, for references among its rows."""
        rows = []
        for part in self.parts:
            one = part.reference(name, live)
            rows.append(one[None].expand(part.rows.stop - part.rows.start, *one.shape))
        return torch.cat(rows)

    def concat_reference(self, own: Tensor, name: str) -> Tensor:
        """Return tokens (rows, 2 N, C): each row's own, then its reference's, recorded under `name`."""
        tokens = own.shape[1]
        both = own.new_empty(own.shape[0], 2 * tokens, own.shape[2])
        both[:, :tokens] = own
        for part in self.parts:
            both[part.rows, tokens:] = part.reference(name, own)
        return both

    def bias(self, tokens: int, dtype: torch.dtype) -> Tensor | None:
        """Return what is added to the logits (rows, 1, 1, 2 N): each row's shift on the reference's columns."""
        if not self.shifted:
            return None
        columns = torch.arange(2 * tokens, device=self.shifts.device) >= tokens
        return (self.shifts * columns).to(dtype)[:, None]


def _part(rows: Rows, leads: dict[tuple[Trajectory, bool], int]) -> RowPart:
    role = rows.trajectory.extra
    span = slice(rows.start, rows.stop)
    half = -1 if rows.conditional else 0
    if not isinstance(role, Follower):
        return RowPart(span, half, rows.trajectory.step, None, rows.start, True, 1.0, 1.0, 0.0)
    joint = role.joint_reference
    lead = -1 if joint is None else leads[joint, rows.conditional]
    return RowPart(span, half, rows.trajectory.step, role.features, lead, False, role.w, role.scale, role.shift)
