"""What goes into an engine and what comes out of it. Plain data, without torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from opentelemetry.trace import Span
from PIL import Image

from workers.contract.jobs.models import Progress, Request, Terms

Watcher = Callable[[Progress], None]


@dataclass(frozen=True)
class PreviewFrame:
    """What a request is becoming after a step. `draw` returns a small RGB picture, None for none; from any thread."""

    step: int
    draw: Callable[[], Image.Image | None]


@dataclass(frozen=True)
class Pictures:
    """The decoded RGB pictures of a request."""

    styles: tuple[Image.Image, ...] = ()
    content: Image.Image | None = None
    control: Image.Image | None = None


@dataclass(frozen=True)
class Work:
    """One request with its decoded pictures. `watch` is called at each step and may raise to stop.

    The spans of its stages go below `span`. `show`, where somebody wants to see it, gets a sketch after each step.
    """

    request: Request
    pictures: Pictures
    watch: Watcher
    span: Span | None = None
    show: Callable[[PreviewFrame], None] | None = None


@dataclass(frozen=True)
class GenerationResult:
    """What became of a request: RGB pictures and their seeds, seconds by stage, what the style cache did.

    `licences` are the terms of the base model, the weights and LoRAs it ran with, and the method.
    """

    pictures: list[Image.Image]
    seeds: tuple[int, ...]
    timings: Mapping[str, float]
    device_seconds: float
    style_cache: Literal["hit", "miss", "none"]
    licences: tuple[Terms, ...] = ()


class Engine(Protocol):
    """What runs requests: the engine, as the runner sees it."""

    def stylize_together(self, works: Sequence[Work]) -> list[GenerationResult | Exception]:
        """Return the outcome of each request, in order. One request's failure does not touch the others."""
        ...
