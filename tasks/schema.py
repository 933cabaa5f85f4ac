"""The schema on a database: how it stands, object by object, and bringing it to the target."""

from dataclasses import dataclass
from enum import StrEnum

import psycopg
from psycopg import errors as pg
from psycopg import sql

from checks.errors import EdgekeeperError, SchemaError
from tasks.app_tables import find_app_tables
from tasks.concurrent_index import run_concurrently
from tasks.database import Connection, explained, transaction, translated
from tasks.queries import query
from tasks.schema_objects import OBJECTS
from tasks.schema_status import ObjectState, ObjectStatus, SchemaObject, rendered

AUDIT_TABLES = ("run", "finding", "repair", "verification", "check_result", "checkpoint", "ack",
                "store_identity", "quarantine", "claim", "upload")  # fmt: skip
#: Columns that came later: a database that an older version has used lacks them.
_LATER_COLUMNS = ("finding.needs", "verification.verified_version", "ack.run_id",
                  "check_result.unjudged")  # fmt: skip
_VIEW_COLUMNS_CLASH = "42P16"


class Outcome(StrEnum):
    """What became of an object in ``schema apply``."""

    UNCHANGED = "unchanged"
    PLANNED = "planned"
    APPLIED = "applied"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One object and what was done about it; ``status`` is how it was found."""

    status: ObjectStatus
    outcome: Outcome
    detail: str | None = None


def schema_status(conn: Connection) -> list[ObjectStatus]:
    """How every object stands, in the order in which they would be made."""
    with translated():
        tables = find_app_tables(conn)
        found = [each.inspect(conn, tables) for each in OBJECTS.values()]
        return [*found, _audit_status(conn)]


def apply_schema(conn: Connection, *, dry_run: bool = False) -> list[SchemaChange]:
    """Brings the database to the target where that is safe; says what is left to a person.

    The app's own tables are not touched and no row is lost. What is refused carries, in its
    ``status``, the statement a person may run. Applying twice changes nothing.

    Args:
        conn: a connection that is not in a transaction.
        dry_run: only say what would be done.
    """
    changes = [_bring(conn, each, dry_run=dry_run) for each in OBJECTS.values()]
    with translated():
        audit = _audit_status(conn)
    if audit.state is ObjectState.PRESENT:
        return [*changes, SchemaChange(audit, Outcome.UNCHANGED)]
    if not audit.safe:
        return [*changes, SchemaChange(audit, Outcome.REFUSED, audit.detail)]
    if not dry_run:
        ensure_audit_schema(conn)
    return [*changes, SchemaChange(audit, Outcome.PLANNED if dry_run else Outcome.APPLIED)]


def ensure_audit_schema(conn: Connection) -> None:
    """Makes the schema ``audit`` and its tables where they are not there: one query where they are.

    Raises SchemaError where a schema of that name belongs to something else.
    """
    with translated():
        status = _audit_status(conn)
    if status.state is ObjectState.PRESENT:
        return
    if not status.safe:
        raise SchemaError(f"The schema audit can't be used: {status.detail}")
    with transaction(conn, lock_timeout="30s"):
        conn.execute(query("audit/tables", "lock"))
        for name in ("audit_schema", *AUDIT_TABLES):
            conn.execute(query("audit/tables", name))


def has_audit_table(conn: Connection, table: str) -> bool:
    """Whether the schema ``audit`` has a table, so that it can be asked without being made."""
    return conn.execute(query("audit/tables", "has_table"), {"table": table}).fetchone() == (True,)


def _bring(conn: Connection, each: SchemaObject, *, dry_run: bool) -> SchemaChange:
    """Brings one object to the target, and looks whether it is there."""
    status = _inspected(conn, each)
    if status.state is ObjectState.PRESENT:
        return SchemaChange(status, Outcome.UNCHANGED)
    if not status.safe or status.statement is None:
        return SchemaChange(status, Outcome.REFUSED, status.detail)
    if dry_run:
        return SchemaChange(status, Outcome.PLANNED, status.detail)
    return _made(conn, each, status)


def _made(conn: Connection, each: SchemaObject, before: ObjectStatus) -> SchemaChange:
    """Runs an object's statement and looks what came of it; what was not safe is left to do."""
    try:
        _run(conn, before)
    except psycopg.Error as error:
        return _explained(before, explained(error), error)
    except EdgekeeperError as error:
        return _explained(before, error, error.__cause__)
    after = _inspected(conn, each)
    if after.state is ObjectState.PRESENT:
        return SchemaChange(before, Outcome.APPLIED, before.detail)
    outcome = Outcome.FAILED if after.safe else Outcome.REFUSED
    return SchemaChange(after, outcome, f"mended: {before.detail}; still: {after.detail}")


def _inspected(conn: Connection, each: SchemaObject) -> ObjectStatus:
    """How one object stands."""
    with translated():
        return each.inspect(conn, find_app_tables(conn))


def _run(conn: Connection, status: ObjectStatus) -> None:
    """Runs an object's statement; what must be outside a transaction one statement at a time."""
    assert status.statement is not None  # noqa: S101 - only called where there is one
    if not status.concurrent:
        with transaction(conn):
            conn.execute(status.statement)
        return
    try:
        for statement in status.statement.split(";\n"):
            run_concurrently(conn, statement.removesuffix(";"))
    except pg.UniqueViolation:
        # what is left of it would be maintained with every write and serve nobody; after another
        # error the name may belong to an index that somebody else has just made
        drop = query("schema/storage_edges", "drop_index", name=sql.Identifier(status.name))
        run_concurrently(conn, drop.as_string(conn))
        raise


def _explained(
    status: ObjectStatus, error: EdgekeeperError, cause: BaseException | None
) -> SchemaChange:
    """An object that could not be made, and why."""
    if isinstance(cause, psycopg.Error) and cause.sqlstate == _VIEW_COLUMNS_CLASH:
        return SchemaChange(status, Outcome.REFUSED, str(error))
    return SchemaChange(status, Outcome.FAILED, str(error))


def _audit_status(conn: Connection) -> ObjectStatus:
    """How the schema ``audit`` stands."""
    row = conn.execute(query("audit/tables", "state")).fetchone()
    statements = (query("audit/tables", name) for name in ("audit_schema", *AUDIT_TABLES))
    create = "\n".join(rendered(conn, each) for each in statements)
    if row is None:
        return ObjectStatus("audit", "schema", ObjectState.MISSING, None, create)
    ours, found, columns = row
    clash = sorted(set(found) & set(AUDIT_TABLES))
    if not ours and clash:
        detail = f"it has tables {', '.join(clash)} that edgekeeper did not make; rename it"
        return ObjectStatus("audit", "schema", ObjectState.DIFFERENT, detail, safe=False)
    lacking = [name for name in AUDIT_TABLES if name not in found]
    lacking += [name for name in _LATER_COLUMNS if name not in columns]
    if not lacking:
        return ObjectStatus("audit", "schema", ObjectState.PRESENT)
    detail = f"it lacks {', '.join(lacking)}"
    return ObjectStatus("audit", "schema", ObjectState.DIFFERENT, detail, create)


__all__ = [
    "ObjectState",
    "ObjectStatus",
    "Outcome",
    "SchemaChange",
    "apply_schema",
    "ensure_audit_schema",
    "schema_status",
]
