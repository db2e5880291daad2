"""Whether the device still works. Some CUDA errors stay: every later call of the process fails too."""

import torch

from workers.engine.errors import DeviceLost


def verdict(failure: Exception) -> Exception:
    """Return the failure, or DeviceLost when it took the device with it."""
    if isinstance(failure, RuntimeError) and not works():
        return DeviceLost(str(failure).partition("\n")[0])
    return failure


def works() -> bool:
    """Return whether the CUDA device, if this process uses one, still takes work."""
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
