"""One step of our loop on FLUX against FluxPipeline's own: the same weights, text, noise, guidance, size and batch.

`python -m tests.bench flux_step`, or `python -m tests.bench.engine.flux_step [--steps 24] [--side 256]`: a random
transformer of the published form, 256 wide, on one CPU thread. Both run in threads that take turns after every step, so
that whatever else the machine does meets both alike; a step counts in CPU time of its thread, the first does not. Each
pair of steps gives a ratio, and the median pair counts. The operators of a step are counted beside.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Semaphore
from typing import Any

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.parity.__main__ import CACHE
from tests.support.tiny import models
from workers.engine.backbones.flux import Flux, pack
from workers.engine.backbones.load import load, wrap
from workers.engine.conditioning import Condition
from workers.engine.denoise import Trajectory, denoise

GOAL = 1.0
GUIDANCE = 3.5
FORM = {
    "num_layers": 2,
    "num_single_layers": 4,
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "axes_dims_rope": (8, 28, 28),
}


@dataclass(frozen=True)
class Work:
    """What both do: pictures of a size from prepared text, in so many steps."""

    pictures: int
    side: int
    steps: int
    true_cfg_scale: float = 1.0

    @property
    def label(self) -> str:
        """Return what is done, in words."""
        guided = f", true CFG {self.true_cfg_scale:g}" if self.true_cfg_scale > 1 else ""
        return f"{self.side} pixels, batch {self.pictures}{guided}"


Way = Callable[[Callable[[], None]], Tensor]
"""Makes pictures and calls what it is given after each step; returns packed latents."""


def race(ways: tuple[Way, Way]) -> list[tuple[float, float]]:
    """Run both ways step by step in turn; return the CPU seconds of each pair of steps but the first."""
    turns = Semaphore(1), Semaphore(0)
    ends: tuple[list[float], list[float]] = ([], [])

    def run(which: int) -> None:
        def stepped() -> None:
            ends[which].append(time.thread_time())
            turns[1 - which].release()
            turns[which].acquire()

        try:
            turns[which].acquire()
            ways[which](stepped)
        finally:
            turns[1 - which].release(len(ends[which]) + 1)

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(run, which) for which in range(2)]:
            done.result()
    seconds = ([after - before for before, after in pairwise(each)] for each in ends)
    return list(zip(*seconds, strict=True))


class Counter(TorchDispatchMode):
    """Counts the operators that run: on a GPU most are a launch each, whatever else the machine does."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **kwargs or {})


def operators(way: Way) -> int:
    """Return how many operators the second step of a run takes."""
    counts: list[int] = []
    with Counter() as counter:
        way(lambda: counts.append(counter.count))
    return counts[1] - counts[0]


def build() -> tuple[Flux, Any]:
    """Return our base model and diffusers' pipeline, each with a transformer of its own of the same weights."""
    parts = load(models.build(CACHE / "tiny-models", "flux")).pipe.components
    base = dict(parts["transformer"].config)
    pipes = []
    for _ in range(2):
        torch.manual_seed(1)
        transformer = FluxTransformer2DModel.from_config(base | FORM).eval().requires_grad_(False)
        pipes.append(FluxPipeline(**parts | {"transformer": transformer}))
        pipes[-1].set_progress_bar_config(disable=True)
    device = torch.device("cpu")
    ours = wrap(pipes[0], name="flux", device=device, dtype=torch.float32, fingerprint="random-flux")
    assert isinstance(ours, Flux)
    return ours, pipes[1]


def ours(backbone: Flux, work: Work, texts: Sequence[Condition], noise: Tensor, stepped: Callable[[], None]) -> Tensor:
    """Return the latents (n, 16, h, w) of our loop."""
    size = {"width": work.side, "height": work.side}
    positive, negative = texts[0], texts[1] if work.true_cfg_scale > 1 else None
    scheduler = backbone.build_scheduler("euler", work.steps, **size)
    trajectory = Trajectory(noise, scheduler, positive, negative, work.true_cfg_scale)
    denoise(backbone.predict, [trajectory], watch=lambda seen: stepped() if seen.step else None)
    return trajectory.latents


def theirs(pipe: Any, work: Work, texts: Sequence[Condition], noise: Tensor, stepped: Callable[[], None]) -> Tensor:
    """Return the packed latents of diffusers' pipeline."""

    def callback(*_: object) -> dict[str, Tensor]:
        stepped()
        return {}

    positive, negative = texts
    guided = {"negative_prompt_embeds": negative.text, "negative_pooled_prompt_embeds": negative.added["pooled"]}
    return pipe(
        prompt_embeds=positive.text,
        pooled_prompt_embeds=positive.added["pooled"],
        **guided if work.true_cfg_scale > 1 else {},
        true_cfg_scale=work.true_cfg_scale,
        guidance_scale=GUIDANCE,
        num_inference_steps=work.steps,
        width=work.side,
        height=work.side,
        latents=pack(noise),
        output_type="latent",
        callback_on_step_end=callback,
    ).images


def compare(backbone: Flux, pipe: Any, work: Work) -> float:
    """Print and return the ratio of a step's seconds, ours over theirs."""
    noise = torch.randn(
        work.pictures, *backbone.latent_shape(work.side, work.side), generator=torch.Generator().manual_seed(1)
    )
    texts = backbone.condition(
        ("a house by a lake",) * work.pictures,
        "blur",
        guided=True,
        width=work.side,
        height=work.side,
        embedded_guidance=GUIDANCE,
        text_tokens=128,
    )
    ways: tuple[Way, Way] = (
        lambda stepped: pack(ours(backbone, work, texts, noise, stepped)),
        lambda stepped: theirs(pipe, work, texts, noise, stepped),
    )
    torch.testing.assert_close(*(way(lambda: None) for way in ways), rtol=0, atol=1e-4)
    pairs = race(ways)
    ratio = statistics.median(one / other for one, other in pairs)
    mine, other = (statistics.median(each) * 1e3 for each in zip(*pairs, strict=True))
    print(
        f"{work.label}: a step takes {ratio:.3f}x FluxPipeline's (goal <= {GOAL:.2f}x), median of {len(pairs)} pairs; "
        f"medians {mine:.1f} and {other:.1f} ms; {' and '.join(str(operators(way)) for way in ways)} operators",
        flush=True,
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--side", type=int, default=256)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    backbone, pipe = build()
    works = [Work(pictures, chosen.side, chosen.steps, scale) for pictures, scale in ((1, 1.0), (4, 1.0), (1, 2.0))]
    ratios = [compare(backbone, pipe, work) for work in works]
    return 0 if max(ratios) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
