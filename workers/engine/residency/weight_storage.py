"""A transformer's weights in fewer bits. Lossy: off by default, and named with every picture made so.

float8         diffusers' layerwise casting: float8_e4m3fn between calls, `dtype` while a layer runs; norms stay in full
torchao-float8 torchao's float8 weights, torchao-int8 its int8 weights: dequantised within the matrix product
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from workers.engine.residency.placement import WeightStorage

PACKAGE = "torchao"
BYTES_OF_A_WEIGHT = 1
_TORCHAO: Mapping[str, Callable[[Any], Any]] = {
    "torchao-float8": lambda quantization: quantization.Float8WeightOnlyConfig(),
    "torchao-int8": lambda quantization: quantization.Int8WeightOnlyConfig(version=2),
}


def missing_package(storage: WeightStorage) -> str | None:
    """Return the name of the package that a form of storage needs and that is not installed."""
    return PACKAGE if storage in _TORCHAO and find_spec(PACKAGE) is None else None


def store_weights(transformer: Any, storage: WeightStorage, dtype: torch.dtype) -> None:
    """Change a diffusers transformer's weights in place; `dtype` is what it computes in."""
    if storage == "float8":
        transformer.enable_layerwise_casting(torch.float8_e4m3fn, dtype)
    elif storage in _TORCHAO:
        quantization = import_module(f"{PACKAGE}.quantization")
        quantization.quantize_(transformer, _TORCHAO[storage](quantization))


def stored_bytes(model: nn.Module, storage: WeightStorage, dtype: torch.dtype) -> int:
    """Return the bytes that a model's weights will take; it has no memory for them, as on the meta device."""
    if storage == "float8":
        store_weights(model.to(dtype), storage, dtype)
        return sum(parameter.numel() * parameter.itemsize for parameter in model.parameters())
    quantised = {id(layer.weight) for layer in model.modules() if storage in _TORCHAO and isinstance(layer, nn.Linear)}
    tied = getattr(model, "_tied_weights_keys", None) or ()
    own = {name: parameter for name, parameter in model.named_parameters() if name not in tied}
    sizes = (p.numel() * (BYTES_OF_A_WEIGHT if id(p) in quantised else dtype.itemsize) for p in own.values())
    return sum(sizes)
