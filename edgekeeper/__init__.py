"""edgekeeper keeps ``storage_edges`` true: the command line over the flows."""

from tasks.allocators import hold_little

__version__ = "0.1.0"

hold_little()  # for the command line
