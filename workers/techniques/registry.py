"""The techniques. Adding one is a folder and a line here; nothing heavy is imported until it is asked for."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from workers.contract.spec import Family, Spec

if TYPE_CHECKING:
    from workers.engine.technique import Technique

FOLDERS: dict[str, str] = {
    "ip-adapter": "encoder.ip_adapter",
    "instantstyle": "encoder.instantstyle",
    "deadiff": "encoder.deadiff",
    "csgo": "encoder.csgo",
    "instantstyle-plus": "encoder.instantstyle_plus",
    "redux": "encoder.redux",
    "style-aligned": "shared_attention.style_aligned",
    "signal-leak": "prior_noise.signal_leak",
    "style-noise": "prior_noise.style_noise",
    "style-id": "injection.style_id",
    "fill": "edit.fill",
    "flux2-edit": "edit.flux2_edit",
    "redux-fill": "encoder.redux_fill",
}

ALIASES: dict[Family, str] = {
    "encoder": "instantstyle",
    "shared-attention": "style-aligned",
    "injection": "style-id",
    "prior-noise": "signal-leak",
    "edit": "fill",
}


def names() -> tuple[str, ...]:
    """Return the registered techniques' names, in the order of the table."""
    return tuple(FOLDERS)


def resolve(method: str) -> str:
    """Return the technique that a method name or family alias means. Raises KeyError when there is none."""
    name = {str(family): name for family, name in ALIASES.items()}.get(method, method)
    if name not in FOLDERS:
        raise KeyError(method)
    return name


@cache
def spec(method: str) -> Spec:
    """Return the spec of a method name or family alias. Raises KeyError when there is none."""
    found = import_module(f"workers.techniques.{FOLDERS[resolve(method)]}.spec").SPEC
    assert isinstance(found, Spec)
    return found


@cache
def technique(name: str) -> "Technique":
    """Return the technique itself; imports torch. Raises KeyError when there is none."""
    from_folder: Technique = import_module(f"workers.techniques.{FOLDERS[resolve(name)]}.technique").TECHNIQUE
    return from_folder
