"""Whose promise is touched: owners and galleries of memories with a lost or wrong copy."""

from typing import Any

import pandas as pd
import pytest

from checks.run import FINDINGS
from tasks.at_risk import AT_RISK, at_risk, endangered
from tasks.database import Connection, connect

PHOTO, NOTE, CLEAN = (f"00000000-0000-4000-8000-00000000000{n}" for n in "abc")
OWNER = "00000000-0000-4000-8000-0000000000ff"
GALLERY = "00000000-0000-4000-9000-000000000001"


def finding(kind: str, memory_id: str, **more: Any) -> dict[str, Any]:
    return dict.fromkeys(FINDINGS.names) | {
        "kind": kind, "severity": "critical", "memory_id": memory_id, "memory_type": "image",
        "repair": "none", **more,
    }  # fmt: skip


def test_every_gallery_of_a_lost_memory_is_named_with_its_owner(conn: Connection) -> None:
    conn.execute("INSERT INTO images (id, owner_id) VALUES (%s, %s)", (PHOTO, OWNER))
    conn.execute("INSERT INTO galleries (id) VALUES (%s)", (GALLERY,))
    conn.execute(
        "INSERT INTO gallery_items (gallery_id, memory_id, memory_type) VALUES (%s, %s, 'image')",
        (GALLERY, PHOTO),
    )
    found = pd.DataFrame([
        finding("missing", PHOTO, severity="warning"), finding("lost", PHOTO),
        finding("lost", NOTE, memory_type="note"),
    ])  # fmt: skip
    risk = at_risk(conn, found)
    assert list(risk.columns) == AT_RISK
    first, second = risk.astype(object).where(risk.notna(), None).to_dict("records")
    assert first == {
        "owner_id": OWNER, "gallery_id": GALLERY, "memory_type": "image", "memory_id": PHOTO,
        "severity": "critical", "kinds": "lost missing",
    }  # fmt: skip
    assert (second["memory_id"], second["owner_id"]) == (NOTE, None)


@pytest.mark.parametrize(
    "harmless",
    [
        {"kind": "missing", "repair": "applied"},
        {"kind": "duplicate_content", "severity": "info"},
        {"kind": "untracked", "severity": "warning"},
    ],
)
def test_what_is_mended_or_about_the_ledger_alone_touches_nobody(harmless: dict[str, Any]) -> None:
    assert endangered(pd.DataFrame([finding(harmless["kind"], CLEAN) | harmless])).empty


def test_a_moved_file_whose_row_still_names_the_old_place_does() -> None:
    assert (
        len(endangered(pd.DataFrame([finding("lost", CLEAN, repair="applied", stays_open=True)])))
        == 1
    )


def test_text_ids_of_any_case_and_form_are_looked_up(make_database: Any) -> None:
    with connect(make_database("deployed")) as conn:
        conn.execute("ALTER TABLE image ADD COLUMN IF NOT EXISTS owner_id text")
        conn.execute(
            "INSERT INTO image (id, owner_id) VALUES (%s, 'o-1'), ('Odd Id', 'o-2')",
            (PHOTO.upper(),),
        )
        risk = at_risk(conn, pd.DataFrame([finding("lost", PHOTO), finding("lost", "Odd Id")]))
    assert list(risk["owner_id"]) == ["o-1", "o-2"]
