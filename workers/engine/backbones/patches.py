"""Changes of a warm model that end: context managers that restore it exactly, also after an exception.

They nest; each undoes only what it did, in reverse order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

ABSENT = object()


@contextmanager
def attention_processors(model: Any, processors: Mapping[str, Any]) -> Iterator[None]:
    """Use other attention processors for the layers named as in `model.attn_processors`; the others stay.

    Raises KeyError when a name is unknown, before anything is changed.
    """
    layers = {name: model.get_submodule(name.removesuffix(".processor")) for name in model.attn_processors}
    chosen = [(layers[name], processor) for name, processor in processors.items()]
    before = [(layer, _state(layer, "processor")) for layer, _ in chosen]
    try:
        for layer, processor in chosen:
            _drop(layer, "processor")
            layer.processor = processor
        yield
    finally:
        for layer, state in reversed(before):
            _restore(layer, "processor", state)


@contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an object (a module, too) another value of one attribute, whether it had one or not."""
    before = _state(owner, name)
    try:
        if isinstance(owner, nn.Module):
            _drop(owner, name)
        setattr(owner, name, value)
        yield
    finally:
        _restore(owner, name, before)


@contextmanager
def config(model: Any, **values: Any) -> Iterator[None]:
    """Give a diffusers model other configuration values."""
    before = model._internal_dict
    try:
        model.register_to_config(**values)
        yield
    finally:
        model._internal_dict = before


@contextmanager
def forward(modules: Iterable[nn.Module], replacement: Callable[[nn.Module], Callable[..., Any]]) -> Iterator[None]:
    """Replace the forward method of modules by `replacement(module)`; the class's own stays callable from there."""
    before = [(module, _state(module, "forward")) for module in modules]
    try:
        for module, _ in before:
            module.forward = replacement(module)
        yield
    finally:
        for module, state in reversed(before):
            _restore(module, "forward", state)


def weights(module: nn.Module, deltas: Mapping[str, Tensor], *, scale: float = 1.0) -> AbstractContextManager[None]:
    """Add `scale` times a change to parameters, by name; the very tensors of before come back.

    Raises KeyError when a name is unknown, before anything is changed.
    """
    return replaced(module, {name: partial(_moved, delta=delta, scale=scale) for name, delta in deltas.items()})


def _moved(own: Tensor, *, delta: Tensor, scale: float) -> Tensor:
    return own + scale * delta.to(own)


@contextmanager
def replaced(module: nn.Module, values: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Give parameters, by name, what a function makes of their tensors; the very tensors of before come back.

    Raises KeyError when a name is unknown, before anything is changed.
    """
    parameters = dict(module.named_parameters())
    before = [(parameters[name], parameters[name].data, value) for name, value in values.items()]
    try:
        for parameter, own, value in before:
            parameter.data = value(own)
        yield
    finally:
        for parameter, own, _ in before:
            parameter.data = own


@contextmanager
def forward_hook(module: nn.Module, hook: Callable[..., Any], *, before: bool = False) -> Iterator[None]:
    """Register a forward hook (or pre-hook) that takes keyword arguments, as torch passes them."""
    handle = (
        module.register_forward_pre_hook(hook, with_kwargs=True)
        if before
        else module.register_forward_hook(hook, with_kwargs=True)
    )
    try:
        yield
    finally:
        handle.remove()


def _stores(owner: Any, name: str) -> dict[str, Any]:
    """Return the dictionary in which an object itself (not its class) holds an attribute."""
    if isinstance(owner, nn.Module):
        for store in (owner._modules, owner._parameters, owner._buffers):
            if name in store:
                return store
    return vars(owner)


def _state(owner: Any, name: str) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return the dictionary of an attribute and its items, so that value and order come back."""
    store = _stores(owner, name)
    return store, list(store.items())


def _drop(owner: Any, name: str) -> None:
    _stores(owner, name).pop(name, None)


def _restore(owner: Any, name: str, state: tuple[dict[str, Any], list[tuple[str, Any]]]) -> None:
    store, items = state
    _drop(owner, name)
    value = dict(items).get(name, ABSENT)
    if value is ABSENT:
        return
    order = [key for key, _ in items]
    store[name] = value
    for key in [key for key in order[order.index(name) + 1 :] if key in store]:
        store[key] = store.pop(key)
