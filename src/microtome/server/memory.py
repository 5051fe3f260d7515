"""What the C library does with memory that was given back: it keeps some, as buffers of half a megabyte come and go.

By default glibc hands such a buffer back to the kernel each time and gets it anew, page by page, which takes longer
than windowing a slice or encoding it.
"""

from __future__ import annotations

import ctypes
import sys

KEPT_BYTES = 32 << 20
"""Free memory at the end of a heap that is not handed back."""
OWN_BYTES = 4 << 20
"""Larger buffers are handed back at once, always."""
_HEAPS = 4
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h


def keep_freed_memory() -> bool:
    """Tell the C library so; whether it is one that can be told."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    choices = ((_TRIM_THRESHOLD, KEPT_BYTES), (_MMAP_THRESHOLD, OWN_BYTES), (_ARENA_MAX, _HEAPS))
    done = [mallopt(option, value) == 1 for option, value in choices]
    return all(done)
