"""How much memory a request will need, asked before it starts."""

from dataclasses import dataclass
from pathlib import Path

import torch

from workers.engine.errors import OutOfMemory

SPARE = 0.05


@dataclass(frozen=True)
class Estimate:
    """Bytes of activations at the peak of a request."""

    denoise: int
    decode: int

    @property
    def peak(self) -> int:
        """The larger of the stages, which do not overlap."""
        return max(self.denoise, self.decode)


def available(device: torch.device) -> int:
    """Return the free bytes of a device, what torch holds unused included; on the CPU, of the machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + held
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OutOfMemory("the machine does not say how much memory is free")


def require(
    needed: int, device: torch.device, *, what: str = "the request", remedy: str = "ask for fewer or smaller pictures"
) -> None:
    """Raise OutOfMemory when that many bytes are not free on the device, with a small reserve."""
    free = available(device)
    if needed > free * (1 - SPARE):
        raise OutOfMemory(
            f"{what} needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free on {device}; {remedy}",
            lacking=needed - int(free * (1 - SPARE)),
        )
