"""The design's API surface: a real server over a real Postgres, asked as the web app asks it."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from psycopg.conninfo import conninfo_to_dict
from requests.models import PreparedRequest
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving import ROOT, TOKEN, serving

from tasks.database import connect, connector
from tasks.journal import revert_run
from tasks.lease import held

IMAGE, NOTE, TWICE = (str(uuid.UUID(int=n)) for n in (1, 2, 3))
GALLERY, EMPTY = (str(uuid.UUID(int=n)) for n in (10, 11))
NOBODY = str(uuid.UUID(int=99))
SHA = "AB" * 32


@pytest.fixture(scope="module")
def filled(server_url: str) -> Iterator[str]:
    """A database with an image stored on both sides, an untracked note and two galleries."""
    name = "clone_served"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE ledger_template")
    url = server_url.replace("/postgres?", f"/{name}?")
    with connect(url) as conn:
        conn.execute("INSERT INTO images (id, url) VALUES (%s, 'x'), (%s, 'y')", (IMAGE, TWICE))
        conn.execute(
            "INSERT INTO notes (id, content) VALUES (%s, 'hello'), (%s, '')", (NOTE, TWICE)
        )
        conn.execute("INSERT INTO galleries (id) VALUES (%s), (%s)", (GALLERY, EMPTY))
        conn.execute(
            "INSERT INTO gallery_items (gallery_id, memory_id, memory_type)"
            " VALUES (%s, %s, 'image')", (GALLERY, IMAGE),
        )  # fmt: skip
        for artifact, backend in (
            ("metadata", "neon-db"), ("asset", "vercel-blob"),
            ("metadata", "icp-canister"), ("asset", "icp-canister"),
        ):  # fmt: skip
            conn.execute(
                "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present)"
                " VALUES (%s, 'image', %s, %s, true)", (IMAGE, artifact, backend),
            )  # fmt: skip
    yield url
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def client(filled: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(filled, tmp_path_factory.mktemp("served")) as asking:
        yield asking


def edge(**fields: Any) -> dict[str, Any]:
    return {"memoryId": NOTE, "memoryType": "note", "artifact": "asset", "backend": "neon-db",
            **fields}  # fmt: skip


@pytest.fixture
def clean_notes(filled: str) -> Iterator[None]:
    yield
    with connect(filled) as conn:
        conn.execute("DELETE FROM storage_edges WHERE memory_type = 'note'")


def test_a_gallery_that_is_on_icp_whole_is_stored_forever(client: httpx.Client) -> None:
    answer = client.get(f"/api/galleries/{GALLERY}/presence")
    assert answer.status_code == 200
    assert answer.json() == {
        "galleryId": GALLERY, "totalMemories": 1, "icpCompleteMemories": 1, "icpComplete": True,
        "icpAny": True, "standardComplete": True, "hasWalrus": False, "hasArweave": False,
        "storageStatus": "stored_forever", "placement": "Both",
    }  # fmt: skip


def test_an_empty_gallery_counts_none_and_one_that_is_not_there_is_404(
    client: httpx.Client,
) -> None:
    empty = client.get(f"/api/galleries/{EMPTY}/presence").json()
    assert (empty["totalMemories"], empty["icpComplete"]) == (0, False)
    assert empty["storageStatus"] == "incomplete"
    absent = client.get(f"/api/galleries/{NOBODY}/presence")
    assert absent.status_code == 404
    assert NOBODY in absent.json()["detail"]


def test_a_memory_tells_where_it_is_and_one_that_nothing_tracks_is_nowhere(
    client: httpx.Client,
) -> None:
    both = client.get(f"/api/memories/image/{IMAGE}/presence").json()
    assert both == {
        "memoryId": IMAGE, "memoryType": "image", "metaNeon": True, "assetBlob": True,
        "metaIcp": True, "assetIcp": True, "assetWalrus": False, "assetArweave": False,
        "assetNeon": False, "placement": "Both",
    }  # fmt: skip
    nowhere = client.get(f"/api/memories/note/{NOTE}/presence")
    assert nowhere.status_code == 200
    assert not any(value is True for value in nowhere.json().values())
    assert client.get(f"/api/memories/video/{IMAGE}/presence").status_code == 404


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/galleries/nonsense/presence", "id"),
        (f"/api/memories/poem/{IMAGE}/presence", "type"),
        ("/api/memories/image/1/presence", "id"),
        ("/api/storage/edges?backend=floppy", "backend"),
        ("/api/storage/edges?limit=100000", "limit"),
        ("/api/storage/sync-status?syncState=lost", "syncState"),
        ("/api/storage/sync-status?after=x", "after"),
        ("/api/storage/sync-status?stuck=1", "stuck"),
        ("/api/storage/edges?memory_id=1", "memory_id"),
        ("/api/storage/edges?present=true&present=false", "present"),
        (f"/api/galleries/{GALLERY}/presence?at=now", "at"),
    ],
)
def test_what_is_malformed_is_422_and_named(client: httpx.Client, path: str, named: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert named in json.dumps([each["loc"] for each in answer.json()["detail"]])


@pytest.mark.usefixtures("clean_notes")
def test_an_edge_is_made_then_only_what_is_given_is_changed(client: httpx.Client) -> None:
    made = client.put("/api/storage/edges", json=edge(present=True, contentHash=SHA, sizeBytes=5))
    assert made.status_code == 201, made.text
    first = made.json()
    assert (first["contentHash"], first["syncState"]) == (SHA.lower(), "idle")
    again = client.put(
        "/api/storage/edges", json=edge(lastSyncedAt="2026-11-20T10:00:00+02:00", location="x")
    )
    assert again.status_code == 200
    second = again.json()
    assert second["lastSyncedAt"] == "2026-11-20T08:00:00Z"
    assert (second["id"], second["sizeBytes"], second["present"]) == (first["id"], 5, True)
    found = client.get("/api/storage/edges", params={"memoryId": NOTE}).json()
    assert [each["location"] for each in found["edges"]] == ["x"]


@pytest.mark.usefixtures("clean_notes")
def test_the_documents_own_names_are_understood_and_the_type_is_looked_up(
    client: httpx.Client,
) -> None:
    body = {"entityId": NOTE, "artifactType": "metadata", "backend": "neon-db", "present": True}
    answer = client.put("/api/storage/edges", json=body)
    assert (answer.status_code, answer.json()["memoryType"]) == (201, "note")
    differ = client.put("/api/storage/edges", json=body | {"memoryId": IMAGE})
    assert differ.status_code == 422
    ambiguous = client.put("/api/storage/edges", json=body | {"entityId": TWICE})
    assert ambiguous.status_code == 422
    assert "memoryType" in ambiguous.json()["detail"]
    unknown = client.put("/api/storage/edges", json=body | {"entityId": NOBODY})
    assert unknown.status_code == 404


@pytest.mark.usefixtures("clean_notes")
def test_a_copy_goes_from_migrating_to_idle_or_failed_and_no_other_way(
    client: httpx.Client,
) -> None:
    def put(state: str, **fields: Any) -> int:
        return client.put("/api/storage/edges", json=edge(syncState=state, **fields)).status_code

    assert put("failed") == 409
    assert put("migrating") == 201
    assert put("migrating") == 200
    assert put("failed", syncError="E" * 5_000, present=False) == 200
    assert put("idle") == 409
    syncs = client.get("/api/storage/sync-status", params={"syncState": "failed"}).json()["syncs"]
    assert [(each["memoryId"], len(each["syncError"])) for each in syncs] == [(NOTE, 2_000)]
    assert put("migrating", syncError=None) == 200
    assert put("idle", present=True) == 200
    assert put("failed") == 409


@pytest.mark.parametrize(
    "wrong",
    [
        {"contentHash": "xyz"}, {"sizeBytes": -1}, {"sizeBytes": 2**53}, {"syncState": None},
        {"present": None}, {"contenthash": SHA}, {"location": "a\x00b"}, {"location": "x" * 5_000},
        {"backend": "walrus"}, {"memoryId": "1"}, {"lastSyncedAt": "yesterday"},
    ],
)  # fmt: skip
def test_a_field_that_the_ledger_could_not_hold_is_422(
    client: httpx.Client, wrong: dict[str, Any]
) -> None:
    answer = client.put("/api/storage/edges", json=edge() | wrong)
    assert answer.status_code == 422, answer.text
    assert next(iter(wrong)).lower() in answer.text.lower()


def test_pages_follow_one_another_without_a_gap(client: httpx.Client) -> None:
    seen: list[str] = []
    after = None
    while True:
        page = client.get(
            "/api/storage/edges", params={"limit": 3} | ({"after": after} if after else {})
        ).json()
        seen += [each["id"] for each in page["edges"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 4


def test_a_write_is_undone_by_the_id_that_came_with_it(client: httpx.Client, filled: str) -> None:
    made = client.put("/api/storage/edges", json=edge(present=True))
    changed = client.put("/api/storage/edges", json=edge(present=False))
    with connect(filled) as conn:
        for answer, present in ((changed, [(True,)]), (made, [])):
            with held(
                connector(filled), f"undo-{present}", flow="revert", policy="ledger", settings={}
            ) as lease:
                report = revert_run(conn, answer.headers["X-Run-Id"], fence=lease.fence)
                lease.release(conn, "completed")
            assert (report.reverted, report.changed_since) == (1, 0)
            rows = conn.execute(
                "SELECT present FROM storage_edges WHERE memory_id = %s", (NOTE,)
            ).fetchall()
            assert rows == present


def test_nothing_but_health_is_answered_without_the_token(client: httpx.Client) -> None:
    for header in ({"Authorization": ""}, {"Authorization": "Bearer wrong"},
                   {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer ü"}):  # fmt: skip
        sent = {name: value.encode() for name, value in header.items()}
        assert client.get(f"/api/galleries/{GALLERY}/presence", headers=sent).status_code == 401
        assert client.put("/api/storage/edges", json=edge(), headers=sent).status_code == 401
    health = client.get("/healthz", headers={"Authorization": ""})
    assert health.status_code == 200
    assert health.json()["status"] == "ok"


def test_a_body_longer_than_an_edge_is_refused_before_it_is_read_whole(
    client: httpx.Client,
) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1_000):
            yield b" " * 1024

    assert client.put("/api/storage/edges", content=endless()).status_code == 413


def test_without_a_token_only_this_machine_is_served_and_only_by_its_name(
    filled: str, tmp_path: Path
) -> None:
    with serving(filled, tmp_path, token=None) as asking:
        path = f"/api/galleries/{GALLERY}/presence"
        assert asking.get(path).status_code == 200
        assert asking.get(path, headers={"Host": "rebound.example"}).status_code == 400
    with (
        pytest.raises(AssertionError, match="only this machine"),
        serving(filled, tmp_path, "--host", "0.0.0.0", token=None),  # noqa: S104
    ):
        pass


def test_a_database_that_is_gone_is_503_and_says_so(
    make_database: Any, server_url: str, tmp_path: Path
) -> None:
    url = make_database("ledger")
    name = conninfo_to_dict(url)["dbname"]
    with serving(url, tmp_path) as asking:
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
        health = asking.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (503, "unavailable")
        presence = asking.get(f"/api/galleries/{GALLERY}/presence")
        assert presence.status_code == 503
        assert presence.headers["Retry-After"] == "5"


def test_a_gallery_is_answered_where_the_app_keeps_a_materialized_view_of_that_name(
    make_database: Any, tmp_path: Path
) -> None:
    url = make_database("ledger")
    with connect(url) as conn:
        conn.execute("DROP MATERIALIZED VIEW gallery_presence_mv")
        conn.execute("DROP VIEW gallery_presence")
        conn.execute(
            "CREATE MATERIALIZED VIEW gallery_presence AS SELECT gallery_id, 7 AS total_memories"
            " FROM gallery_items"
        )
        conn.execute("INSERT INTO galleries (id) VALUES (%s)", (GALLERY,))
        conn.execute("INSERT INTO images (id, url) VALUES (%s, 'x')", (IMAGE,))
        conn.execute(
            "INSERT INTO gallery_items (gallery_id, memory_id, memory_type)"
            " VALUES (%s, %s, 'image')", (GALLERY, IMAGE),
        )  # fmt: skip
    with serving(url, tmp_path) as asking:
        answer = asking.get(f"/api/galleries/{GALLERY}/presence").json()
    assert (answer["totalMemories"], answer["storageStatus"]) == (1, "incomplete")


def query_is_sent_whole(case: Any) -> bool:
    """Whether every parameter is in the URL: [] or None as a wrong value leaves nothing to refuse."""
    sent = PreparedRequest()
    sent.prepare_url("http://localhost/", case.query)
    return parse_qs(urlsplit(str(sent.url)).query, keep_blank_values=True).keys() >= set(case.query)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_description_holds_for_whatever_can_be_asked(
    client: httpx.Client, mode: GenerationMode
) -> None:
    """Schemathesis asks every operation what its description allows, and what it does not."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.path == "/healthz":
            continue  # it takes nothing that could be wrong

        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def answers_as_described(case: Any) -> None:
            assume(query_is_sent_whole(case))
            case.call_and_validate(
                base_url=str(client.base_url),
                headers=dict(client.headers),
                excluded_checks=[ignored_auth],  # it asks again with the headers given here
            )

        answers_as_described()


def test_the_command_line_gives_the_same_answers(
    filled: str, client: httpx.Client, tmp_path: Path
) -> None:
    def asked(*words: str) -> tuple[int, Any, str]:
        done = subprocess.run(
            [sys.executable, "-m", "edgekeeper", "presence", *words, "--json", "-"],
            cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT),
                               "DATABASE_URL": filled},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout or "null"), done.stderr

    code, answer, _ = asked("gallery", GALLERY)
    assert (code, answer) == (0, client.get(f"/api/galleries/{GALLERY}/presence").json())
    code, answer, _ = asked("memory", "image", IMAGE)
    assert (code, answer) == (0, client.get(f"/api/memories/image/{IMAGE}/presence").json())
    code, answer, _ = asked("syncs", "--stuck")
    assert (code, answer) == (0, {"syncs": []})
    code, _, told = asked("gallery", NOBODY)
    assert (code, told.strip()) == (2, f"Error: There is no gallery {NOBODY}.")
