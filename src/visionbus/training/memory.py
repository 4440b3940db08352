"""Keeps the memory that each step of a training frees and takes again."""

import ctypes

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # glibc's numbers of its settings
_LARGEST = 32 * 2**20  # bytes: what glibc takes from its heap at most
_NEVER = 2**31 - 1


def keep_freed() -> None:
    """Let the C library keep what this process frees, where it is glibc; elsewhere nothing changes.

    Otherwise it gives the memory of large tensors back to the system, as the heap happens to lie, and the system clears
    it anew at each step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _NEVER)
