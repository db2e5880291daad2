"""Loading a checkpoint of 1 GB against reading its file once: time and memory.

`python -m tests.bench.engine.loading [--megabytes 1000] [--rounds 7] [--folder DIR]`. The file has the tensors of a
UNet (many small ones, some large). Both ways are run in turn in one process, the file in the page cache; the shortest
run of each counts, since other programs only ever lengthen it. Loading ends when every page of every tensor has been
touched.
"""

import argparse
import gc
import json
import os
import struct
import sys
import tempfile
import time
from pathlib import Path

import torch

from model_store.load.tensors import load_tensors
from tests.support.memory import resident

TIME_GOAL, MEMORY_GOAL = 1.2, 1.15
PAGE, BLOCK = 4096, 8 << 20


def write_checkpoint(file: Path, size: int) -> None:
    """Write a float16 checkpoint of about `size` bytes: groups of a large, two middling and four small tensors."""
    group = [(1280, 1280, 3, 3), (1280, 1280), (1280, 768), (1280,), (1280,), (640,), (640,)]
    entries: dict[str, object] = {}
    at, number = 0, 0
    while at < size:
        for shape in group:
            end = at + 2 * torch.Size(shape).numel()
            entries[f"block.{number}.weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [at, end]}
            at, number = end, number + 1
    raw = json.dumps(entries).encode()
    raw += b" " * (-len(raw) % 8)
    block = os.urandom(BLOCK)
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(raw)) + raw)
        for start in range(0, at, BLOCK):
            opened.write(block[: min(BLOCK, at - start)])
        opened.flush()
        os.fsync(opened.fileno())


def read_once(file: Path) -> float:
    """Return the seconds it takes to read the file into one buffer that is used again and again."""
    buffer = bytearray(BLOCK)
    began = time.perf_counter()
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass
    return time.perf_counter() - began


def load(file: Path) -> float:
    """Return the seconds it takes to load the file and touch every page of every tensor."""
    began = time.perf_counter()
    tensors = load_tensors(file)
    for tensor in tensors.values():
        tensor.view(torch.uint8).view(-1)[::PAGE].max()
    return time.perf_counter() - began


def peak_of_load(file: Path) -> int:
    """Return by how many bytes loading raises the resident set at its peak."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident("VmRSS")
    load(file)
    return resident("VmHWM") - before


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--megabytes", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--folder", type=Path, default=None)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        file = Path(folder) / "model.safetensors"
        write_checkpoint(file, chosen.megabytes * 10**6)
        read_once(file)
        peak = peak_of_load(file)
        rounds = [(read_once(file), load(file)) for _ in range(chosen.rounds)]
        size = file.stat().st_size
    reading, loading = (min(each) for each in zip(*rounds, strict=True))
    print(f"file {size / 1e6:.0f} MB: read once {reading:.3f} s, loaded {loading:.3f} s")
    print(f"time   {loading / reading:.2f}x reading (goal <= {TIME_GOAL}x)")
    print(f"memory {peak / size:.2f}x the file (goal <= {MEMORY_GOAL}x)")
    return int(loading > TIME_GOAL * reading or peak > MEMORY_GOAL * size)


if __name__ == "__main__":
    sys.exit(main())
