"""A component of a pipeline (UNet, VAE, encoder) from its folder: safetensors only, nothing fetched, no remote code."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers import ModelMixin
from transformers import PreTrainedModel

from model_store.errors import MalformedFile, NotInstalled, WrongKeys
from model_store.load.shards import headers_of, weight_files
from model_store.load.tensors import load_tensors, renamed, require_shapes

Component = TypeVar("Component")

_WRAPPERS = ("text_model", "vision_model")
"""Prefixes that transformers' CLIP towers have in some versions and published files, and in others not."""


def load_component(
    folder: Path,
    kind: type[Component],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    skip: Sequence[str] = (),
    config: Any = None,
    others: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> Component:
    """Return the diffusers or transformers model `kind` with the weights of `folder`, in evaluation mode.

    Weights go straight to `device` in `dtype` (none: as stored). `skip` are regular expressions of stored names that
    belong to other parts of the model; `config`, of transformers, replaces the folder's. What the folder does not
    hold is copied from `others` where they have it, by name and shape. Raises NotInstalled, MalformedFile or
    WrongKeys, naming file and key, before memory is taken.
    """
    files = weight_files(folder)
    model: Any = empty_component(folder, kind, config)
    expected = _expected(model)
    rename = _renaming(model, set(expected), skip)
    lacking = expected.keys() - renamed(headers_of(files), rename).keys() if others else set()
    copied = {
        name: others[name].detach().to(device, dtype, copy=True)
        for name in lacking
        if name in others and others[name].shape == expected[name]
    }
    required = {name: shape for name, shape in expected.items() if name not in copied}
    tensors = load_tensors(files, device=device, dtype=dtype, expected=required, rename=rename)
    model.load_state_dict(copied | tensors, strict=False, assign=True)
    _tie(model)
    _require_filled(model, folder)
    return model.to(device).eval().requires_grad_(False)  # type: ignore[no-any-return]


def check_component(folder: Path, kind: type[Component], *, skip: Sequence[str] = ()) -> Component:
    """Return the model without memory for its parameters, after all checks of `load_component` on its files."""
    files = weight_files(folder)
    model: Any = empty_component(folder, kind)
    expected = _expected(model)
    headers = headers_of(files)
    names = renamed(headers, _renaming(model, set(expected), skip))
    require_shapes(names, headers, expected, files)
    for name, tensor in model.state_dict().items():
        stored = names.get(name)
        if stored and tensor.is_floating_point() and not headers[stored].tensors[stored].is_floating:
            found = headers[stored].tensors[stored].dtype
            raise WrongKeys(f"{headers[stored].file}: {stored}: is of type {found}, not of floating numbers")
    return model  # type: ignore[no-any-return]


def empty_component(folder: Path, kind: type[Component], config: Any = None) -> Component:
    """Return the model that the folder's config.json, or `config`, describes, its parameters on the meta device.

    Raises NotInstalled without a config.json, MalformedFile for one that the model does not take.
    """
    with init_empty_weights(include_buffers=False):
        return _empty(folder, kind) if config is None else kind(config)  # type: ignore[call-arg]


def _empty(folder: Path, kind: Any) -> Any:
    """Build the model from the folder's config.json."""
    if not (folder / "config.json").is_file() or (folder / "config.json").is_symlink():
        raise NotInstalled(f"{folder}/config.json is missing, or a link")
    if not issubclass(kind, PreTrainedModel | ModelMixin):
        raise TypeError(f"{kind.__name__} is no model of diffusers or transformers")
    try:
        if issubclass(kind, PreTrainedModel) and kind.config_class is not None:
            return kind(kind.config_class.from_pretrained(folder, local_files_only=True))
        return kind.from_config(kind.load_config(folder, local_files_only=True))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise MalformedFile(f"{folder}/config.json: {fault}") from fault


def _expected(model: torch.nn.Module) -> dict[str, Sequence[int]]:
    """Return the shape of every tensor that a file must hold: not those tied to another."""
    tied = getattr(model, "_tied_weights_keys", None) or ()
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}


@cache
def _aliases() -> Mapping[str, tuple[tuple[re.Pattern[str], str], ...]]:
    """Return the renamings of older published files, by the name of the class they apply to."""
    raw = tomllib.loads((resources.files("model_store.load") / "aliases.toml").read_text(encoding="utf-8"))
    return {kind: tuple((re.compile(rule["from"]), rule["to"]) for rule in rules) for kind, rules in raw.items()}


def _renaming(model: Any, expected: set[str], skip: Sequence[str]) -> Callable[[str], str | None]:
    """Return how stored names become the model's: aliases of older files, a wrapper's prefix more or less."""
    ignored = [*skip, *(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ())]
    tied = map(re.escape, getattr(model, "_tied_weights_keys", None) or ())
    dropped = [re.compile(pattern) for pattern in (*ignored, r"(^|\.)position_ids$", *(f"^{name}$" for name in tied))]
    aliases = _aliases().get(type(model).__name__, ())
    prefixes = [f"{prefix}." for prefix in (getattr(model, "base_model_prefix", ""), *_WRAPPERS) if prefix]

    def rename(name: str) -> str | None:
        if any(pattern.search(name) for pattern in dropped):
            return None
        for pattern, replacement in aliases:
            name = pattern.sub(replacement, name)
        candidates = (name, *(name.removeprefix(prefix) for prefix in prefixes), *(p + name for p in prefixes))
        return next((candidate for candidate in candidates if candidate in expected), name)

    return rename


def _tie(model: Any) -> None:
    """Let tied parameters share the tensor that was stored for one of them, where a model has such."""
    if isinstance(model, PreTrainedModel):
        model.tie_weights()


def _require_filled(model: torch.nn.Module, folder: Path) -> None:
    """Raise WrongKeys when a parameter got no value, which assigning by name must have given it."""
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise WrongKeys(f"{folder}: {name}: missing")
