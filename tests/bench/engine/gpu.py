"""Time per image on a GPU: diffusers' own pipeline, ours, and methods, at the true sizes.

`python -m tests.bench.engine.gpu [--shapes sd15 sdxl flux flux-fill flux2-klein] [--batches 1 4 8]`: random weights in
the published shapes, built on the device in bfloat16, so nothing is downloaded. UNets make 30 steps (`--steps`), FLUX
as many as its rows say, a picture at a time. `--device cpu --shapes tiny-sd15 tiny-flux` checks the program itself.
"""

import argparse
import gc
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.bench.engine import _gpu_flux, _gpu_unets
from tests.bench.engine._gpu_run import Bench, fastest

UNETS = tuple(_gpu_unets.STEP_TFLOP)
SHAPES = (*UNETS, *_gpu_flux.STEPS)


def roofline(device: torch.device) -> float:
    """Measured TFLOP/s of a large bfloat16 matrix product."""
    side = 8192 if device.type == "cuda" else 512
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    seconds = fastest(lambda: a @ a, device, rounds=10)
    return 2 * side**3 / seconds / 1e12


def measure(
    shape: str, device: torch.device, steps: int | None, batches: list[int], rounds: int, cache: Path, top: float
) -> None:
    """Print the rows of a shape."""
    base = shape.removeprefix("tiny-")
    if base in UNETS:
        module, steps = _gpu_unets, steps or 30
        bench = Bench(_gpu_unets.build(shape, device, cache), lambda _: cache)
    else:
        module, steps, batches = _gpu_flux, steps or _gpu_flux.STEPS[base], batches[:1]
        bench = Bench(_gpu_flux.build(shape, device, cache), _gpu_flux.weights(shape, cache))
    for pictures in batches:
        for label, work in module.rows(shape, bench, steps, pictures).items():
            seconds = fastest(work, device, rounds) / pictures
            share = steps * module.STEP_TFLOP[shape] / seconds / top if shape in module.STEP_TFLOP else 0.0
            print(f"| {shape} | {steps} | {pictures} | {label} | {seconds:.3f} | {share:.0%} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES, *(f"tiny-{s}" for s in SHAPES)], default=list(SHAPES))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    chosen = parser.parse_args(arguments)
    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing measured", file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    top = roofline(device)
    print(f"{name}: {top:.0f} TFLOP/s bfloat16 matrix product\n")
    print("| shape | steps | batch | what | seconds per image | share of the matrix roofline, by plain work |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="stylize-bench-") as cache:
        for shape in chosen.shapes:
            measure(shape, device, chosen.steps, chosen.batches, chosen.rounds, Path(cache), top)
            gc.collect()
            torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
