"""Every database as it is deployed goes from its first look to a verified gallery."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from damaged_sandbox import Audited
from deployments import VARIANTS, Variant
from legacy_sandbox import Deployment, Edge, LegacySandbox

from checks.errors import SchemaError
from checks.run import exit_code
from tasks.database import connect
from tasks.schema import ObjectState, Outcome, SchemaChange, apply_schema, schema_status

REFUSED = [variant for variant in VARIANTS if variant.refused]


def parameters(variants: list[Variant]) -> Iterator[object]:
    for variant in variants:
        marks = [pytest.mark.soak] if variant.soak else []
        yield pytest.param(variant, id=variant.name, marks=marks)


def applied(database: Deployment) -> list[SchemaChange]:
    with connect(database.url) as conn:
        return apply_schema(conn)


def left_to_do(database: Deployment) -> set[str]:
    with connect(database.url) as conn:
        return {each.name for each in schema_status(conn) if each.state is not ObjectState.PRESENT}


def with_outcome(changes: list[SchemaChange], *outcomes: Outcome) -> set[str]:
    return {each.status.name for each in changes if each.outcome in outcomes}


def a_person_acts(database: Deployment) -> None:
    """What was refused is done as its statement says, one object after the other."""
    for change in applied(database):
        text = change.status.statement
        if change.outcome is Outcome.REFUSED and text:
            for statement in text.split(";\n") if "CONCURRENTLY" in text else [text]:
                database.sql(statement)


def expected(legacy: LegacySandbox, variant: Variant) -> set[Edge]:
    edges = {edge for edge in legacy.truth if edge[1] not in variant.lacking}
    if variant.holds_any_id:  # a second row with the first image's file
        first = min(edge[0] for edge in edges if edge[1] == "image")
        edges |= {("img_0001", *e[1:]) for e in edges if e[0] == first and e[3] != "icp-canister"}
    return edges


def kinds(audited: Audited, variant: Variant) -> dict[str, int]:
    """What an audit found; of ids as the app's own rows have them, not each of their edges'."""
    found = audited.kinds
    if variant.holds_any_id:
        invalid = [
            each for each in audited.of("invalid_id", backend="neon-db") if not each.artifact
        ]
        found |= {"invalid_id": len(invalid)}
    return found


@pytest.mark.parametrize("variant", parameters(list(VARIANTS)))
def test_a_deployment_is_brought_to_the_target_filled_repaired_and_verified(
    variant: Variant, legacy: LegacySandbox, home: Path
) -> None:
    with legacy.database(variant.changes) as database:
        rows, edges = database.app_rows(), database.edge_ids()
        assert variant.refused <= left_to_do(database)
        first = applied(database)
        assert with_outcome(first, Outcome.REFUSED, Outcome.FAILED) == variant.refused
        before = database.catalog()
        again = applied(database)
        assert with_outcome(again, Outcome.APPLIED, Outcome.FAILED) == set()
        assert database.catalog() == before
        assert left_to_do(database) == variant.refused
        if variant.blocked:
            with pytest.raises(SchemaError, match="can't be written to"):
                database.backfill(home)
            a_person_acts(database)
        else:
            assert database.edge_ids() == edges
        filled = database.backfill(home)
        assert exit_code(filled) == 0
        assert database.edges() == expected(legacy, variant)
        database.damage()
        mended = database.audit(home, repair="ledger")
        assert kinds(mended, variant) == {"unmarked": 2, "untracked": 2, **variant.remaining}
        assert mended.record.repairs.applied == 4
        assert database.edges() == expected(legacy, variant)
        audited = database.audit(home, repair="ledger")
        assert kinds(audited, variant) == variant.remaining
        assert not audited.record.repairs.applied
        verified = database.verify(home)
        assert verified.gallery is not None
        assert verified.gallery.verdict in {"stored_forever", "partially_on_icp"}
        assert verified.gallery.memories
        assert database.app_rows() == rows


@pytest.mark.parametrize("variant", parameters(REFUSED))
def test_what_is_refused_comes_with_the_statement_that_does_it(
    variant: Variant, legacy: LegacySandbox
) -> None:
    with legacy.database(variant.changes) as database:
        rows, edges = database.app_rows(), database.edge_ids()
        a_person_acts(database)
        applied(database)
        without_galleries = "no_galleries" in variant.changes
        assert left_to_do(database) == (variant.refused if without_galleries else set())
        assert database.app_rows() == rows
        assert edges == database.edge_ids() or "edges_twice" in variant.changes
