"""What the report says of owners and galleries at risk, before it is a page."""

from dataclasses import dataclass

import pandas as pd

from checks.run import SEVERITIES, SEVERITY_RANK

#: How many owners and how many galleries the page names.
NAMED = 15


@dataclass(frozen=True, slots=True)
class Affected:
    """An owner or a gallery.

    Attributes:
        id: its id.
        memories: how many of its memories have a copy that is lost, wrong or in doubt.
        severity: the gravest finding.
        kinds: the kinds of the findings.
    """

    id: str
    memories: int
    severity: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RiskView:
    """Who is affected: counts, and the gravest of owners and galleries."""

    memories: int
    owners: int
    galleries: int
    ownerless: int
    worst_owners: tuple[Affected, ...]
    worst_galleries: tuple[Affected, ...]


def risk_view(risk: pd.DataFrame) -> RiskView:
    """The view of a table with the columns ``AT_RISK``."""
    memory = ["memory_type", "memory_id"]
    once = risk.drop_duplicates(memory)
    return RiskView(
        memories=len(once),
        owners=int(risk["owner_id"].nunique()),
        galleries=int(risk["gallery_id"].nunique()),
        ownerless=int(once["owner_id"].isna().sum()),
        worst_owners=_worst(risk, "owner_id"),
        worst_galleries=_worst(risk, "gallery_id"),
    )


def _worst(risk: pd.DataFrame, column: str) -> tuple[Affected, ...]:
    """The gravest by ``column``: by severity, then by how many memories."""
    named = risk[risk[column].notna()].drop_duplicates([column, "memory_type", "memory_id"])
    grouped = (
        named.assign(rank=named["severity"].map(SEVERITY_RANK))
        .groupby(column, sort=False)
        .agg(memories=("memory_id", "size"), rank=("rank", "min"), kinds=("kinds", " ".join))
        .sort_values(["rank", "memories"], ascending=[True, False], kind="stable")
        .head(NAMED)
    )
    return tuple(
        Affected(str(name), int(memories), SEVERITIES[rank], tuple(dict.fromkeys(kinds.split())))
        for name, memories, rank, kinds in grouped.itertuples(name=None)
    )
