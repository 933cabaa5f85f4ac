"""``edgekeeper quarantine``: what was kept aside before it was removed or replaced, and back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from checks.errors import UsageError
from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from tasks.quarantine import Kept

app = typer.Typer(
    no_args_is_help=True, help="What was kept aside before it was removed or replaced."
)
RunId = Annotated[
    str | None, typer.Option("--run", metavar="ID", help="What this run put there, only.")
]
Location = Annotated[
    str | None, typer.Option("--location", metavar="L", help="The object of this name, only.")
]


@app.command("list")
@command
def list_(out: Output, run: RunId = None, location: Location = None) -> int:
    """List what is in quarantine, newest first.

    Example: edgekeeper quarantine list

    Example: edgekeeper quarantine list --run 20261123T031500Z-7f3a --json -

    Exit codes: 0 listed, also where there is nothing; 2 usage or settings; 3 the database can't be
    reached.
    """
    from tasks.database import connect  # noqa: PLC0415 - --help does without
    from tasks.quarantine import in_quarantine  # noqa: PLC0415
    from tasks.schema import ensure_audit_schema  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    with connect(load_settings().batch_database_url) as conn:
        ensure_audit_schema(conn)
        kept = in_quarantine(conn, run_id=run, location=location)
    out.json({"quarantine": [_shown(each) for each in kept]})
    rows = [(k.run_id, k.backend, k.location, k.size, _state(k), k.kept_at) for k in kept]
    if rows:
        out.table(("run", "store", "location", "bytes", "state", "kept in"), rows)
    else:
        out.say("Nothing is in quarantine.")
    return 0


@app.command("restore")
@command
def restore(out: Output, run: RunId = None, location: Location = None) -> int:
    """Put files back that were removed from the blob store, under the names that they had.

    What is there by now is never overwritten. Copies on the canister are not put back by this: what
    was kept of them is in the directory that `quarantine list` names.

    Example: edgekeeper quarantine restore --location images/2024/lake.jpg

    Example: edgekeeper quarantine restore --run 20261123T031500Z-7f3a

    Exit codes: 0 all of it is back; 1 something could not be put back; 2 usage or settings, or
    nothing of that kind is in quarantine; 3 a store can't be reached; 4 another run holds the lock.
    """
    if run is None and location is None:
        raise UsageError("Say what to put back: --run ID, --location L, or both. Nothing was done.")
    results = _restored(run, location)
    out.json({"restored": [{"location": where, "outcome": how} for where, how in results]})
    out.table(("location", "outcome"), results)
    return 0 if all(how in ("put back", "there already") for _, how in results) else 1


def _restored(run: str | None, location: str | None) -> list[tuple[str, str]]:
    """Puts back under a lease; what became of each file."""
    import asyncio  # noqa: PLC0415 - --help does without all of these
    from datetime import UTC, datetime  # noqa: PLC0415

    from checks.run import new_run_id  # noqa: PLC0415
    from tasks import log  # noqa: PLC0415
    from tasks.database import connector  # noqa: PLC0415
    from tasks.lease import held  # noqa: PLC0415
    from tasks.quarantine import in_quarantine, restore_all  # noqa: PLC0415
    from tasks.settings import load_settings, masked  # noqa: PLC0415

    settings = load_settings()
    log.protect(settings)
    connect = connector(settings.batch_database_url, purpose="edgekeeper quarantine")
    with held(
        connect, new_run_id(datetime.now(UTC)),
        flow="quarantine-restore", policy="content", settings=masked(settings),
    ) as lease, connect() as conn:  # fmt: skip
        kept = in_quarantine(conn, run_id=run, location=location)
        if not kept:
            raise UsageError("Nothing of that kind is in quarantine; see: quarantine list")
        results = asyncio.run(restore_all(settings, connect, kept))
        lease.release(conn, "completed")
    return results


def _state(kept: "Kept") -> str:
    if kept.restored_at is not None:
        return "back in its store"
    return "removed from its store" if kept.purged_at is not None else "kept"


def _shown(kept: "Kept") -> dict[str, Any]:
    times = ("taken_at", "purged_at", "restored_at")
    return {
        "run_id": kept.run_id, "backend": kept.backend.value, "location": kept.location,
        "version": kept.version, "content_type": kept.content_type, "size_bytes": kept.size,
        "sha256": kept.sha256 or None, "kept_at": str(kept.kept_at),
        **{name: value.isoformat() if (value := getattr(kept, name)) else None for name in times},
    }  # fmt: skip
