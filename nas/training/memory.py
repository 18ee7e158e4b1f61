"""Freed memory stays with the process that trains: its next step needs the same again."""

import ctypes
import functools
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names in malloc.h, with an M_ before
_KEPT = 2**30  # bytes


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep up to 1 GiB of freed memory; do nothing under another C library.

    By default it gives large tensors back to the system at once, which zeroes each page of the next
    ones: a quarter of the processor time of large networks (`python -m benchmarks.training`).
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            library.mallopt(option, _KEPT)
