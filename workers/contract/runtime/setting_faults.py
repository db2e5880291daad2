"""What is wrong with a setting, in plain words: what it must be, and the value that was given."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

MOST_SHOWN = 60
NUMBERS = {int: "a whole number", float: "a number"}


def describe_fault(fault: ErrorDetails, field: FieldInfo | None) -> str:
    """Return what a value must be and, unless it may hold a secret, what it is; `field` is None for several fields."""
    if field is None:
        return _raised(fault)
    wanted = _raised(fault) if fault["type"] == "value_error" else f"must be {_wanted(field)}"
    return f"{wanted}{_given(fault['input'], field)}"


def closest_name(name: str, known: Iterable[str], process: str) -> str:
    """Return the known name that an unknown one seems to mean; empty when there is none.

    The name of the process is left out of the comparison, for it may be what was forgotten.
    """
    short = {whole.removeprefix(f"{process}_"): whole for whole in known}
    near = get_close_matches(name.removeprefix(f"{process}_"), short, n=1)
    return short[near[0]] if near else ""


def _raised(fault: ErrorDetails) -> str:
    """Return the text of the validator that refused a value, without pydantic's words before it."""
    return str(fault.get("ctx", {}).get("error", fault["msg"]))


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    kinds = get_args(field.annotation) or (field.annotation,)
    return tuple(kind for kind in kinds if kind is not type(None))


def _wanted(field: FieldInfo) -> str:
    kinds = _kinds(field)
    if kinds[0] is bool:
        return "true or false"
    if kinds[0] in NUMBERS:
        return f"{NUMBERS[kinds[0]]} {_range(field)}"
    least = next((rule.min_length for rule in field.metadata if isinstance(rule, MinLen)), 1)
    return f"one of {', '.join(kinds)}" if isinstance(kinds[0], str) else f"a text of at least {least} characters"


def _range(field: FieldInfo) -> str:
    words = []
    for rule in field.metadata:
        match rule:
            case Ge(ge=bound):
                words.append(f"from {_number(bound)}")
            case Gt(gt=bound):
                words.append(f"above {_number(bound)}")
            case Le(le=bound):
                words.append(f"up to {_number(bound)}")
            case Lt(lt=bound):
                words.append(f"below {_number(bound)}")
    return " and ".join(words) if words[0].startswith("above") else " ".join(words)


def _number(bound: Any) -> str:
    return f"{bound:.9f}".rstrip("0").rstrip(".") if isinstance(bound, float) else str(bound)


def _given(value: Any, field: FieldInfo) -> str:
    if SecretStr in _kinds(field) or not isinstance(value, str) or "@" in value:
        return ""
    shown = value if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]}..."
    return f", not {shown!r}"
