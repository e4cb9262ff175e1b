"""How this process's memory is taken from the kernel and given back.

A batch frees what it used, and the next one uses as much again. Left as they are, the allocators hand large blocks back
at once, and every batch has the kernel clear the same pages anew: half of the time of joins of wide rows. Arrow's
(mimalloc) and NumPy's ask for huge pages besides, each of which is cleared whole for the first byte of it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys

_VARIABLES = {"MIMALLOC_ALLOW_THP": "0", "MIMALLOC_PURGE_DELAY": "10000", "NUMPY_MADVISE_HUGEPAGE": "0"}
"""Options by environment variable: no huge pages unless the kernel gives them unasked; what is freed is given back
after so many milliseconds."""

_OF_C = {-3: 32 << 20, -1: 512 << 20, -2: 64 << 20, -8: 1}
"""Parameters of glibc's mallopt(3): from which size blocks are the kernel's own (M_MMAP_THRESHOLD, the most that it
takes), how much free memory at the top is kept (M_TRIM_THRESHOLD), how much is asked for at a time (M_TOP_PAD), and
that all threads share one arena (M_ARENA_MAX): those of threads are of 64 MiB at most each, given back when empty
whatever is to be kept, so that a view's second worker had its pages cleared anew in every batch."""

_STARTING = 100_000
"""Objects made between two looks of the cyclic collector while a process starts: importing makes a million, all of
which stay, and looking at them over and over is a quarter of what a start takes."""

_ours = False
_running = gc.get_threshold()


def keep_freed() -> None:
    """Has the allocators keep what is freed for a while, and Python's cyclic collector seldom look until `settle`. For
    processes that are Headwater's own, before Arrow and NumPy are imported, which read their options then; a variable
    that is set already stays as it is."""
    global _ours
    _ours = True
    gc.set_threshold(_STARTING)
    for name, setting in _VARIABLES.items():
        os.environ.setdefault(name, setting)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in _OF_C.items():
            mallopt(parameter, value)


def settle() -> None:
    """Has Python's cyclic collector look no more at what is there now, in a process that `keep_freed` was told is ours
    and that has opened all it needs: a collection that walks over every module, class and cached statement stops all
    threads for a tenth of a second, in the middle of a commit as likely as not."""
    if not _ours:
        return
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_running)
    atexit.unregister(gc.unfreeze)
    atexit.register(gc.unfreeze)  # DuckDB reports what is never collected as leaked


def give_back() -> None:
    """Has the allocators give back what they keep. Between the parts of work that takes much."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
