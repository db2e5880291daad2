"""What a client asks of saved styles and comparisons; see `app.client.operations`."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from app.client.operations import (
    FILES,
    FIRST_LOOK,
    LONGEST_PAUSE,
    NOT_FIELDS,
    File,
    HTTPRequest,
    Operation,
    Sleep,
    StylizeFields,
    answered,
    files_of,
    read,
    text_of,
)
from app.schemas.style import ComparisonView, StylesView, StyleView


@dataclass(frozen=True)
class Lists:
    """What a comparison varies: each method draws with each strength and each seed."""

    methods: Sequence[str]
    strengths: Sequence[float] = ()
    seeds: Sequence[int] = ()

    def fields(self) -> dict[str, str]:
        """Return the lists as fields of a form."""
        lists = {"method": self.methods, "strength": self.strengths, "seed": self.seeds}
        return {name: ",".join(map(str, values)) for name, values in lists.items() if values}


def save_style(
    name: str, style_images: Sequence[File], weights: Sequence[float], precompute: Sequence[str], model: str | None
) -> Operation[StyleView]:
    """Save references under a name."""
    given = {"style_weights": text_of(weights), "precompute": text_of(precompute), "model": model or ""}
    fields = {"name": name} | {field: text for field, text in given.items() if text}
    files = files_of("style_images", {"style_images": style_images})
    return read(StyleView, (yield from answered(HTTPRequest("POST", "/styles", fields=fields, files=files))))


def style(style_id: str) -> Operation[StyleView]:
    """Look at a style."""
    return read(StyleView, (yield from answered(HTTPRequest("GET", f"/styles/{quote(style_id, safe='')}"))))


def precompute(style_id: str, methods: Sequence[str], model: str | None) -> Operation[StyleView]:
    """Ask for a style to be prepared."""
    fields = {"method": text_of(methods)} | ({"model": model} if model else {})
    call = HTTPRequest("POST", f"/styles/{quote(style_id, safe='')}/precompute", fields=fields)
    return read(StyleView, (yield from answered(call)))


def styles(limit: int, cursor: str | None) -> Operation[StylesView]:
    """Look at a page of styles."""
    query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    return read(StylesView, (yield from answered(HTTPRequest("GET", "/styles", query=query))))


def delete_style(style_id: str) -> Operation[None]:
    """Delete a style."""
    yield from answered(HTTPRequest("DELETE", f"/styles/{quote(style_id, safe='')}"))


def compare(lists: Lists, asked: StylizeFields) -> Operation[ComparisonView]:
    """Ask for a comparison; tried again like a job."""
    fields = {name: text_of(value) for name, value in asked.items() if name not in NOT_FIELDS} | lists.fields()
    files = [part for name in FILES for part in files_of(name, asked)]
    headers = {"Idempotency-Key": asked.get("idempotency_key") or uuid.uuid4().hex}
    call = HTTPRequest("POST", "/comparisons", fields=fields, files=files, headers=headers)
    return read(ComparisonView, (yield from answered(call)))


def comparison(comparison_id: str, verb: str = "GET") -> Operation[ComparisonView]:
    """Look at a comparison, or with DELETE cancel it."""
    return read(
        ComparisonView, (yield from answered(HTTPRequest(verb, f"/comparisons/{quote(comparison_id, safe='')}")))
    )


def wait_all(
    comparison_id: str, seconds: float | None, seen: Callable[[ComparisonView], object]
) -> Operation[ComparisonView]:
    """Look at a comparison until all its jobs are final, or the time is up; `seen` gets each look."""
    until = None if seconds is None else time.monotonic() + seconds
    pause = FIRST_LOOK
    while True:
        current = yield from comparison(comparison_id)
        seen(current)
        if current.state == "finished" or (until is not None and time.monotonic() + pause > until):
            return current
        yield Sleep(pause)
        pause = min(pause * 1.3, LONGEST_PAUSE)


def sheet(comparison_id: str) -> Operation[bytes]:
    """Fetch the contact sheet of a finished comparison."""
    return (yield from answered(HTTPRequest("GET", f"/comparisons/{quote(comparison_id, safe='')}/sheet"))).content
