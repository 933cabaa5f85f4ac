"""Everything that does I/O: the settings, the stores, the database, the run directory.

Plain functions and classes that know nothing of Prefect; ``flows/`` turns them into tasks.
"""
