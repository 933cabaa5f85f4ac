"""What the process needs of memory, and giving back what it no longer needs."""

import ctypes
import resource
import sys

import pyarrow as pa

_UNITS_PER_MB = 1024 * 1024 if sys.platform == "darwin" else 1024


def peak_rss_mb() -> float:
    """The most memory that this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNITS_PER_MB


def release_unused() -> None:
    """Gives freed memory back to the system.

    Arrow and the C library both keep what was freed for later. A stage frees hundreds of megabytes
    of short texts at once, and the next one would come on top of them.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)
