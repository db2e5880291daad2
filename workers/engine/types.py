"""What goes into an engine and what comes out of it. Plain data, without torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from opentelemetry.trace import INVALID_SPAN, Span
from PIL import Image

from workers.contract.jobs.models import GenerationRequest, Progress, Terms

if TYPE_CHECKING:  # these need torch
    from workers.engine.cache.style_cache import RequestCache
    from workers.engine.denoise import Trajectory
    from workers.engine.progress import ProgressReporter
    from workers.engine.technique import GenerationInputs

Watcher = Callable[[Progress], None]


@dataclass(frozen=True)
class PreviewFrame:
    """What a request is becoming after a step. `draw` returns a small RGB picture, None for none; from any thread."""

    step: int
    draw: Callable[[], Image.Image | None]


@dataclass(frozen=True)
class Pictures:
    """The decoded RGB pictures of a request. White of `mask` is what is repainted of the content."""

    styles: tuple[Image.Image, ...] = ()
    content: Image.Image | None = None
    control: Image.Image | None = None
    mask: Image.Image | None = None


@dataclass(eq=False)
class BatchItem:
    """One request, or some of its pictures, on its way through an engine: in the end it has its images or a failure.

    `watch` is called at each step and may raise to stop; the spans of its stages go below `span`. `on_preview`, where
    somebody wants to see it, gets a frame after each step. The engine sets the rest; `used` names the weights that the
    technique asked for, in order; `weight_storage` is how the base model's weights are kept; `control_map` is the map
    it made of the control picture; `warnings` say what of the request does not count.
    """

    request: GenerationRequest
    pictures: Pictures
    watch: Watcher
    span: Span = INVALID_SPAN
    on_preview: Callable[[PreviewFrame], None] | None = None
    inputs: "GenerationInputs" = field(init=False)
    progress: "ProgressReporter" = field(init=False)
    cache: "RequestCache" = field(init=False)
    used: dict[str, None] = field(init=False, default_factory=dict)
    warnings: tuple[str, ...] = field(init=False, default=())
    weight_storage: str = field(init=False, default="full")
    trajectory: "Trajectory | None" = field(init=False, default=None)
    images: list[Image.Image] = field(init=False, default_factory=list)
    control_map: Image.Image | None = field(init=False, default=None)
    failure: Exception | None = field(init=False, default=None)

    @property
    def rows(self) -> int:
        """Rows of the model's batch per step."""
        return len(self.inputs.seeds) * (2 if self.inputs.guided else 1)


@dataclass(frozen=True)
class GenerationResult:
    """What became of a request: RGB pictures and their seeds, seconds by stage, what the style cache did.

    `licences` are the terms of the base model, the weights and LoRAs it ran with, and the method. `warnings` say in
    sentences what of the request did not count, and that weights are not kept in full, which `weight_storage` names.
    `control_map` is the map that was made of the control picture.
    """

    pictures: list[Image.Image]
    seeds: tuple[int, ...]
    timings: Mapping[str, float]
    device_seconds: float
    style_cache: Literal["hit", "miss", "none"]
    licences: tuple[Terms, ...] = ()
    warnings: tuple[str, ...] = ()
    weight_storage: str = "full"
    control_map: Image.Image | None = None


class Engine(Protocol):
    """What runs requests: the engine, as the runner sees it."""

    def run_batch(self, items: Sequence[BatchItem]) -> list[GenerationResult | Exception]:
        """Return the outcome of each request, in order. One request's failure does not touch the others."""
        ...
