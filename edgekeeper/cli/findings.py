# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper findings``: what a run found, to be read, filtered and piped."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from checks.run import Finding
    from tasks.run_directory import RunDirectory

Format = Literal["table", "csv", "json"]
_COLUMNS = ("severity", "kind", "memory_type", "memory_id", "artifact", "backend", "location",
            "repair", "fingerprint")  # fmt: skip


@command
def findings(
    out: Output,
    run_id: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="Of this run; default: the last finished audit."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="K", help="Only this kind, such as missing.")
    ] = None,
    open_only: Annotated[
        bool, typer.Option("--open", help="Only those that nobody mended or acknowledged.")
    ] = False,
    output_format: Annotated[Format, typer.Option("--format", help="How to print them.")] = "table",
) -> int:
    """List the findings of a run, all of them, the worst first.

    Example: edgekeeper findings --open

    Example: edgekeeper findings --kind missing --format csv > missing.csv

    Exit codes: 0 nothing of severity warning or critical is among them; 1 something is; 2 there is
    no such run or kind.
    """
    now = datetime.now(UTC)
    found = [
        each for each in _as_of_now(out, _chosen(run_id, kind), now)
        if not open_only or each.is_open(now)
    ]  # fmt: skip
    rows = [each.model_dump(mode="json") for each in found]
    out.json({"findings": rows})
    if output_format == "json":
        out.product(_json(rows))
    elif output_format == "csv":
        out.product(_csv(rows))
    else:
        columns: tuple[str, ...] = _COLUMNS
        if any(row["acknowledged_until"] for row in rows):
            columns = (*_COLUMNS, "acknowledged_until", "acknowledged_reason")
        out.table(columns, [[row[name] for name in columns] for row in rows])
        out.say(f"\nFindings: {len(rows):,}" if rows else "No findings.")
    return int(any(each.is_open(now) and each.severity != "info" for each in found))


def _as_of_now(out: Output, found: list["Finding"], now: datetime) -> list["Finding"]:
    """The findings with what was said of them since the run, where the database can be asked."""
    from checks.errors import EdgekeeperError, SettingsError  # noqa: PLC0415 - --help does without
    from tasks.acknowledgements import acknowledgements, as_of_now  # noqa: PLC0415
    from tasks.database import connect  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    try:
        url = load_settings().batch_database_url
        with connect(url, purpose="edgekeeper findings", attempts=1) as conn:
            return as_of_now(found, acknowledgements(conn), now)
    except SettingsError:  # the run's files are at hand without a database too
        return found
    except EdgekeeperError as error:
        out.notice(f"Acknowledgements made since the run are not shown: {error}")
        return found


def _chosen(run_id: str | None, kind: str | None) -> list["Finding"]:
    """The findings that were asked for. Raises UsageError."""
    from checks.errors import UsageError  # noqa: PLC0415 - --help does without
    from checks.kinds import KINDS  # noqa: PLC0415
    from checks.run import findings_of  # noqa: PLC0415

    if kind is not None and kind not in KINDS:
        raise UsageError(f"--kind {kind}: there is no such kind. There are: {', '.join(KINDS)}.")
    directory = _directory(run_id)
    if not directory.findings_parquet.is_file():
        raise UsageError(f"Run {directory.run_id} has no findings: it did not come to its end.")
    return [each for each in findings_of(directory.read_findings()) if kind in (None, each.kind)]


def _directory(run_id: str | None) -> "RunDirectory":
    """The directory of the run, or of the last audit that has findings. Raises UsageError."""
    from checks.errors import UsageError  # noqa: PLC0415
    from tasks.run_directory import (  # noqa: PLC0415
        RunDirectory,
        existing,
        former_runs,
        local_home,
    )
    from tasks.settings import load_settings  # noqa: PLC0415

    home = local_home(load_settings().home)
    if run_id is not None:
        return existing(home, run_id)
    for run in former_runs(home).runs:
        directory = RunDirectory(home, run.run_id)
        if run.flow == "nightly-audit" and directory.findings_parquet.is_file():
            return directory
    raise UsageError(f"There is no finished audit in {home} yet; start with: edgekeeper audit")


def _json(rows: list[dict[str, Any]]) -> str:
    import json  # noqa: PLC0415

    return json.dumps(rows, indent=2, ensure_ascii=True)


def _csv(rows: list[dict[str, Any]]) -> str:
    """The rows for a spreadsheet, which must not take a cell for a formula."""
    import csv  # noqa: PLC0415
    import io  # noqa: PLC0415
    import json  # noqa: PLC0415

    from checks.run import FINDINGS  # noqa: PLC0415
    from tasks.spreadsheet import cell  # noqa: PLC0415

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(FINDINGS.names)
    for row in rows:
        values = [row[name] for name in FINDINGS.names]
        writer.writerow(
            cell(json.dumps(value) if isinstance(value, dict) else value) for value in values
        )
    return text.getvalue()
