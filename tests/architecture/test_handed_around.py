"""Functions of the gateway take what they use: nothing that is handed around holds everything."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel

import app

MOST_FIELDS = 8
PACKAGES = {"app", "workers", "model_store", "deploy"}
NOT_IMPORTED = ("app.client", "app.dependencies", "app.services.comparisons.drawing")
"""The client is another distribution, `dependencies` builds what is handed around, `drawing` is a program."""
MODULES = sorted(
    found.name for found in pkgutil.walk_packages(app.__path__, "app.") if not found.name.startswith(NOT_IMPORTED)
)


@dataclasses.dataclass
class Locator:
    """What the rule forbids."""

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int


class Bag:
    """The same without a dataclass."""

    def __init__(self) -> None:
        self.a = self.b = self.c = self.d = 0
        self.e, self.f, self.g = 0, 0, 0
        self.h: int = 0
        self.i = 0


def take_locator(locator: Locator | None) -> None:
    assert locator is None


def take_bags(bags: list[Bag]) -> None:
    assert not bags


def callables(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """Yield the functions and methods that a module defines."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield value
        elif inspect.isclass(value):
            members = (inspect.unwrap(getattr(member, "__func__", member)) for member in vars(value).values())
            yield from (member for member in members if inspect.isfunction(member))


def classes_in(annotation: Any) -> Iterator[type]:
    """Yield the classes that an annotation names, inside of unions and generics too."""
    if inspect.isclass(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from classes_in(part)


def fields_of(kind: type) -> set[str]:
    """Return what can be reached through an object: the fields of a dataclass, or the public attributes."""
    if issubclass(kind, BaseModel):  # schemas and settings
        return set()
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    source = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    stored = (node for node in ast.walk(source) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    names = {node.attr for node in stored if isinstance(node.value, ast.Name) and node.value.id == "self"}
    return {name for name in names if not name.startswith("_")}


def too_much(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the parameters of a function through which it reaches too much."""
    for name, annotation in get_type_hints(inspect.unwrap(function)).items():
        if name == "return":
            continue
        for kind in classes_in(annotation):
            if kind.__module__.partition(".")[0] in {*PACKAGES, "tests"} and len(fields_of(kind)) > MOST_FIELDS:
                yield f"{function.__module__}.{function.__qualname__}({name}: {kind.__name__})"


@pytest.mark.parametrize("name", MODULES)
def test_a_parameter_reaches_at_most_eight_things(name: str) -> None:
    found = [told for function in callables(importlib.import_module(name)) for told in too_much(function)]
    assert not found, "hand over what the function uses"


@pytest.mark.parametrize("function", [take_locator, take_bags])
def test_what_holds_everything_is_found(function: Callable[..., Any]) -> None:
    assert len(list(too_much(function))) == 1
