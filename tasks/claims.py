"""Claims: which memories a run is copying just now, so that nobody calls its copies stuck.

A claim has no heart of its own: it counts as long as the run behind it holds the lease and that
run's heart beats. A killed run's claims are what tells its unfinished copies from the app's own.
"""

from dataclasses import dataclass

from checks.model import Backend
from tasks.database import Connection, transaction
from tasks.lease import TIMEOUT_SECONDS
from tasks.queries import query

#: A memory's id and type, and the backend it is copied to.
Claimed = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one moment.

    Attributes:
        alive: of runs that are at work.
        dead: of runs that are not.
    """

    alive: frozenset[Claimed] = frozenset()
    dead: frozenset[Claimed] = frozenset()


def read_claims(conn: Connection) -> Claims:
    """All claims there are; ``conn`` is in a transaction."""
    found = conn.execute(query("queries/claims", "claims"), {"timeout": TIMEOUT_SECONDS}).fetchall()
    sorted_out: dict[bool, set[Claimed]] = {True: set(), False: set()}
    for *claimed, _run_id, alive in found:
        sorted_out[alive].add(tuple(claimed))
    return Claims(frozenset(sorted_out[True]), frozenset(sorted_out[False]))


def claimed_now(conn: Connection) -> list[Claimed]:
    """What runs that are at work are copying."""
    with transaction(conn, snapshot=True):
        return sorted(read_claims(conn).alive)


def claim(
    conn: Connection, run_id: str, memory_id: str, memory_type: str, backend: Backend
) -> None:
    """Claims a memory's copy to ``backend``; inside the transaction that begins it."""
    conn.execute(
        query("queries/claims", "claim"),
        {"memory_id": memory_id, "memory_type": memory_type, "backend": backend.value,
         "run_id": run_id},
    )  # fmt: skip


def give_up(
    conn: Connection, run_id: str, memory_id: str, memory_type: str, backend: Backend
) -> None:
    """Gives a claim up; inside the transaction that ends the copy."""
    conn.execute(
        query("queries/claims", "give_up"),
        {"memory_id": memory_id, "memory_type": memory_type, "backend": backend.value,
         "run_id": run_id},
    )  # fmt: skip
