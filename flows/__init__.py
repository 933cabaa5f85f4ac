"""The flows: what is done in which order, run by Prefect. No rule and no I/O of its own."""
