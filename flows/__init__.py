"""The flows: what is done in which order, run by Prefect. No rule and no I/O of its own."""

from tasks.allocators import hold_little

hold_little()  # for a worker that runs a flow or one of its tasks
