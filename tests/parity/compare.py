"""Computed tensors against recorded ones: the worst error as a fraction of what is allowed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.parity.case import Case


class UnlikeError(Exception):
    """A tensor the case compares was not computed, or has another shape."""


@dataclass(frozen=True)
class Check:
    """One comparison: |ours - expected| <= atol + rtol |expected|, elementwise, on the rows named (None: all)."""

    tensor: str
    rtol: float
    atol: float
    index: list[int] | None = None

    def error(self, ours: Tensor, expected: Tensor) -> float:
        """Return the worst error as a fraction of the tolerance; infinite when anything is not a number."""
        if ours.shape != expected.shape:
            raise UnlikeError(f"{self.tensor} is {tuple(ours.shape)}, expected {tuple(expected.shape)}")
        if self.index is not None:
            ours, expected = ours[self.index], expected[self.index]
        ours, expected = ours.detach().cpu().double(), expected.double()
        allowed = self.atol + self.rtol * expected.abs()
        off = (ours - expected).abs()
        worst = torch.where(off == 0, 0.0, off / allowed)
        return float(worst.nan_to_num(nan=torch.inf).max()) if worst.numel() else 0.0


def checks(case: Case) -> Iterator[Check]:
    """Return every comparison a case asks for: compare, its intermediates, compare_inversion.

    Expected tensors that no rule names are for debugging, except gradients, which have the main tolerance.
    """
    main: dict[str, Any] = case.facts["compare"]
    yield Check(main["tensor"], main["rtol"], main["atol"])
    for name, atol in main.get("intermediates", {}).items():
        yield Check(name, 0.0, atol)
    for rule in case.facts.get("compare_inversion", ()):
        yield Check(rule["tensor"], rule["rtol"], rule["atol"], rule.get("index"))
    for name in sorted(case.expected):
        if name.startswith("grad_"):
            yield Check(name, main["rtol"], main["atol"])


def compare(case: Case, ours: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the worst error of each comparison as a fraction of its tolerance, by tensor. Raises UnlikeError."""
    errors: dict[str, float] = {}
    for check in checks(case):
        if check.tensor not in ours:
            raise UnlikeError(f"{check.tensor} was not computed")
        expected = case.expected.get(check.tensor, case.inputs.get(check.tensor))
        if expected is None:
            raise UnlikeError(f"{check.tensor} is not recorded")
        error = check.error(ours[check.tensor], expected)
        errors[check.tensor] = max(error, errors.get(check.tensor, 0.0))
    return errors
