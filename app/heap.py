"""The C library's heap, told to keep for the next upload what the last one needed. Linux, glibc."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 16 * 2**20
"""Free memory at the end of a heap that is kept."""
LARGE_BYTES = 2 * 2**20
"""Blocks from this size on are pages of their own, given back as soon as they are free."""


def keep() -> None:
    """Keep a little free memory instead of giving each buffer back; other C libraries are left as they are.

    A body comes in buffers of up to 256 KB. By default each is returned to the kernel, and the next one is paid for
    with a page fault per 4 KB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
