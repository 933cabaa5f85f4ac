"""The command line: parses, calls, prints. It decides nothing, and ends with what it was told.

Modules are imported where they are needed: ``--help`` has to answer at once.
"""


def main() -> None:
    """What the console script calls."""
    from edgekeeper.cli.app import app  # noqa: PLC0415 - see above

    app(prog_name="edgekeeper")
