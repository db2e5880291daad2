"""Whether the device still works. Some CUDA errors stay: every later call of the process fails too."""

import torch

from workers.engine.errors import DeviceLost
from workers.engine.memory import available


def verdict(failure: Exception) -> Exception:
    """Return the failure, or DeviceLost when it took the device with it."""
    if isinstance(failure, RuntimeError) and not works():
        return DeviceLost(str(failure).partition("\n")[0])
    return failure


def describe(where: torch.device, dtype: torch.dtype) -> str:
    """Return a device, the numbers it computes with and the memory it has left, in words."""
    card = f" {torch.cuda.get_device_name(where)}" if where.type == "cuda" else ""
    free = f"{available(where) / 2**30:.1f} GiB free"
    return f"{where}{card}, {str(dtype).removeprefix('torch.')}, {free}"


def works() -> bool:
    """Return whether the CUDA device, if this process uses one, still takes work."""
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
