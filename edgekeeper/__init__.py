"""edgekeeper keeps ``storage_edges`` true: the command line over the flows."""

__version__ = "0.1.0"
