"""What a single file states of its model beside the weights: how it predicts, its last noise level, its native size.

Trainers write it into the header's metadata, or as empty tensors whose names say it.
"""

import re
from collections.abc import Iterator
from typing import Any

from model_store.errors import WrongKeys
from model_store.load.header import Header

V_TENSOR, ZERO_SNR_TENSOR = "v_pred", "ztsnr"
_ZERO_SNR = "ss_zero_terminal_snr"
_TYPES = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "v": "v_prediction",
    "v_pred": "v_prediction",
    "v_prediction": "v_prediction",
}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_UNSTATED = {"", "none", "null"}
_ELSEWHERE = re.compile(r"^edm_(vpred\.|mean$|std$)")
"""Names of tensors that mark models trained on other noise levels (EDM)."""


def stated_scheduler(header: Header) -> dict[str, Any]:
    """Return what of a scheduler's configuration the file states; empty when it states nothing.

    Raises WrongKeys for what is not served, and for statements that contradict each other, naming both.
    """
    for name in header.tensors:
        if _ELSEWHERE.match(name):
            raise WrongKeys(f"{header.file}: {name}: the noise levels of EDM are not served")
    types = list(_types(header))
    zero_snr = _zero_snr(header)
    for where, kind in types[1:]:
        if kind != types[0][1]:
            raise WrongKeys(f"{header.file}: {types[0][0]} says {types[0][1]}, {where} says {kind}")
    found: dict[str, Any] = {"prediction_type": types[0][1]} if types else {}
    if zero_snr is None:
        return found
    if found.get("prediction_type") != "v_prediction":
        said = f"{types[0][0]} says epsilon" if types else "nothing says v_prediction"
        raise WrongKeys(f"{header.file}: {zero_snr} says zero terminal SNR, which takes v_prediction, but {said}")
    return found | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def _types(header: Header) -> Iterator[tuple[str, str]]:
    """Yield each statement of how the model predicts: where it stands, and the type as diffusers names it."""
    if V_TENSOR in header.tensors:
        yield f"the tensor {V_TENSOR}", "v_prediction"
    key = "modelspec.prediction_type"
    value = header.metadata.get(key, "").strip().lower().replace("-", "_")
    if value not in _UNSTATED:
        if value not in _TYPES:
            raise WrongKeys(f"{header.file}: {key} is {value[:40]!r}; served are epsilon and v")
        yield key, _TYPES[value]
    key = "ss_v_parameterization"
    flag = _flag(header, key)
    if flag is not None:
        yield key, "v_prediction" if flag else "epsilon"


def _zero_snr(header: Header) -> str | None:
    """Return where zero terminal SNR is stated, None when it is not."""
    if ZERO_SNR_TENSOR in header.tensors:
        return f"the tensor {ZERO_SNR_TENSOR}"
    return _ZERO_SNR if _flag(header, _ZERO_SNR) else None


def _flag(header: Header, key: str) -> bool | None:
    value = header.metadata.get(key, "").strip().lower()
    if value in _UNSTATED:
        return None
    if value not in _FLAGS:
        raise WrongKeys(f"{header.file}: {key} is {value[:40]!r}, neither true nor false")
    return _FLAGS[value]


def stated_side(header: Header) -> int | None:
    """Return the side, in pixels, of the square pictures that the model was trained on, where the file states it."""
    found = re.fullmatch(r"(\d{2,4})(?:x(\d{2,4}))?", header.metadata.get("modelspec.resolution", "").strip())
    if found is None or found[2] not in (None, found[1]):
        return None
    side = int(found[1])
    return side if 64 <= side <= 2048 and side % 8 == 0 else None
