"""The command line: parses, calls, prints. It decides nothing, and ends with what it was told.

Modules are imported where they are needed: ``--help`` has to answer at once.
"""

import sys

_INTERNAL_ERROR = 5


def main() -> None:
    """What the console script calls."""
    try:
        from edgekeeper.cli.app import app  # noqa: PLC0415 - see above

        app(prog_name="edgekeeper")
    except Exception as error:  # noqa: BLE001 - Python's own 1 would mean that findings are open
        # Every command has its own handler; what gets here kept even that from working.
        sys.stderr.write(
            f"Error: Internal error: {type(error).__name__}: {error}. Is the installation whole? "
            "Try: make install\n"
        )
        sys.exit(_INTERNAL_ERROR)
