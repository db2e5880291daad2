"""What Prometheus' naming rules ask of an exposition, as `promtool check metrics` does, and bounded labels."""

import re
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

UNITS = {"seconds", "bytes", "ratio"}
NOT_BASE_UNITS = {"milliseconds", "ms", "us", "minutes", "hours", "percent", "megabytes", "mb", "kb", "gb"}
MEASURES = {"duration", "wait", "memory", "age", "error", "step", "load"}
"""Words that ask for a unit at the end of the name."""
RESERVED = {"le", "quantile", "job", "instance"}
UNBOUNDED = re.compile(r"[0-9a-f]{12,}|https?:|/jobs/[^{]|\s", re.IGNORECASE)
MOST_VALUES = 40

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def families(text: str) -> dict[str, Metric]:
    """Return the families by the name that Prometheus knows, counters with `_total`, but no `_created`."""
    found = [family for family in text_string_to_metric_families(text) if not family.name.endswith("_created")]
    return {f"{family.name}_total" if family.type == "counter" else family.name: family for family in found}


def samples(text: str) -> Samples:
    """Return every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def faults(text: str) -> list[str]:
    """Return every rule that the exposition breaks, a sentence each."""
    declared = re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE)
    twice = sorted({name for name in declared if declared.count(name) > 1})
    return [f"{name} is declared twice" for name in twice] + [
        f"{name}: {fault}"
        for name, family in families(text).items()
        for fault in (*_of_name(name, family), *_of_labels(family))
    ]


def _of_name(name: str, family: Metric) -> Iterator[str]:
    words = name.removesuffix("_total").split("_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        yield "not in lower case with underscores"
    if family.type not in ("counter", "gauge", "histogram"):
        yield f"has the type {family.type}"
    if family.type != "counter" and name.endswith(("_total", "_count", "_sum", "_bucket")):
        yield "ends like a counter"
    if found := NOT_BASE_UNITS.intersection(words):
        yield f"is not in a base unit: {found}"
    if MEASURES.intersection(words) and not UNITS.intersection(words):
        yield "does not name its unit"
    if UNITS.intersection(words) and words[-1] not in UNITS:
        yield "the unit is not at the end"
    if not family.documentation:
        yield "has no help text"


def _of_labels(family: Metric) -> Iterator[str]:
    values: dict[str, set[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if not (label == "le" and family.type == "histogram"):
                values.setdefault(label, set()).add(value)
    for label, seen in values.items():
        if label in RESERVED:
            yield f"the label {label} is reserved"
        if len(seen) > MOST_VALUES:
            yield f"{len(seen)} values of the label {label}"
        if wild := sorted(value for value in seen if UNBOUNDED.search(value)):
            yield f"the label {label} is not bounded: {wild[0]!r}"
