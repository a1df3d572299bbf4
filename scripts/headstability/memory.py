"""How a process deals with memory it has freed."""

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed blocks for the next allocation of their size, where the C library is glibc.

    By default it gives large blocks back to the system at once, and every training step pays for
    having them mapped and zeroed again: an eighth of its time (docs/benchmarks.md). Elsewhere
    nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
