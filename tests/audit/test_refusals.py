"""What an audit refuses to believe or to begin: other stores, empty ones, refused credentials."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from damaged_sandbox import BLOB, ICP, Box
from test_store_faults import FORBIDDEN, LIST, check_nothing_concluded, check_others

from checks.errors import (
    EdgekeeperError,
    LeaseError,
    SchemaError,
    SettingsError,
    StoreIdentityError,
    UsageError,
)
from checks.model import RepairPolicy
from tasks import audit
from tasks.database import connector
from tasks.lease import held
from tasks.run_directory import run_ids
from tasks.settings import MAINNET_ROOT_KEY

OTHER_CANISTER = "rdmx6-jaaaa-aaaaa-aaadq-cai"


def token(box: Box, *, store: str | None = None, secret: str | None = None) -> str:
    parts = box.directory.choices.blob_token.split("_")
    return "_".join([*parts[:3], store or parts[3], secret or parts[4]])


def test_an_empty_listing_of_a_store_that_should_hold_something_is_not_believed(
    box: Box, home: Path
) -> None:
    empty = {"status": 200, "body": '{"blobs":[],"hasMore":false}'}
    before = box.edges(BLOB)
    box.fault(BLOB, "status", empty, **LIST)
    done = box.audit(home, repair="ledger")
    assert done.record.stores[BLOB].state == "incomplete"
    assert "listed nothing" in (done.record.stores[BLOB].detail or "")
    check_nothing_concluded(box, done, BLOB, before)
    check_others(box, done, BLOB)


def test_a_refused_token_is_no_absence(box: Box, home: Path) -> None:
    before = box.edges(BLOB)
    done = box.audit(
        home, repair="ledger", BLOB_READ_WRITE_TOKEN=token(box, secret="f" * 32)
    )  # fmt: skip
    assert done.record.stores[BLOB].state == "incomplete"
    check_nothing_concluded(box, done, BLOB, before)
    check_others(box, done, BLOB)


@pytest.mark.parametrize("variable", ["BLOB_READ_WRITE_TOKEN", "CANISTER_ID_BACKEND"])
def test_another_store_is_refused_until_a_person_accepts_it(
    variable: str, sound: Box, home: Path
) -> None:
    sound.audit(home)
    other = token(sound, store="AnotherStore12345") if "BLOB" in variable else OTHER_CANISTER
    before, runs = sound.edges(), len(list((home / "runs").iterdir()))
    with pytest.raises(StoreIdentityError, match="--accept-new-store") as refused:
        sound.audit(home, repair="ledger", **{variable: other})
    assert refused.value.exit_code == 2
    assert len(list((home / "runs").iterdir())) == runs
    sound.audit(home, accept_new_store=True, **{variable: other})
    assert sound.edges() == before
    if "CANISTER" in variable:  # the stand-in answers under any id, so that this one is pinned
        with pytest.raises(StoreIdentityError):
            sound.audit(home)
    else:
        sound.audit(home)  # what did not answer as that store did not become the pinned one


def test_a_store_that_a_person_accepts_and_that_answers_is_the_pinned_one(
    sound: Box, home: Path
) -> None:
    sound.audit(home)
    sound.sql("UPDATE audit.store_identity SET identity = 'former' WHERE backend <> 'neon-db'")
    with pytest.raises(StoreIdentityError, match="was former"):
        sound.audit(home)
    sound.audit(home, accept_new_store=True)
    sound.audit(home)


def test_a_store_that_does_not_answer_is_not_pinned(sound: Box, home: Path) -> None:
    sound.audit(home, BLOB_READ_WRITE_TOKEN=token(sound, store="AnotherStore12345"))
    sound.audit(home)


@pytest.mark.parametrize(
    "change", [{"IC_IDENTITY_PEM": "/no/such/file"}, {"IC_ROOT_KEY": "00"}], ids=str
)
def test_a_store_that_can_not_be_asked_is_refused_before_anything_is_written(
    change: dict[str, str], sound: Box, home: Path
) -> None:
    with pytest.raises(SettingsError):
        sound.audit(home, **change)
    assert not (home / "runs").exists()
    assert sound.sql("SELECT to_regnamespace('audit')::text") == [(None,)]


def test_what_a_capsule_held_that_is_gone_for_good_is_missing_once_a_person_says_so(
    sound: Box, home: Path
) -> None:
    ((memory,),) = sound.sql(
        "SELECT memory_id::text FROM storage_edges WHERE memory_type = 'image' "
        "GROUP BY 1 HAVING NOT bool_or(backend = 'icp-canister') ORDER BY 1 LIMIT 1"
    )
    sound.sql(
        "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present, location) "
        "SELECT %s, 'image', artifact::artifact_t, 'icp-canister', true, %s "
        "FROM unnest(ARRAY['metadata', 'asset']) AS artifact",
        memory, f"icp://capsule_closed/{memory}",
    )  # fmt: skip
    before = sound.edges()
    unknown = sound.audit(home, repair="ledger")
    assert unknown.code == 3
    assert set(unknown.record.stores[ICP].unknown_parts) == {"capsule_closed"}
    assert not unknown.of("missing")
    assert sound.edges() == before

    known = sound.audit(home, repair="ledger", EDGEKEEPER_ICP_GONE_CAPSULES="capsule_closed")
    assert not known.record.stores[ICP].unknown_parts
    missing = known.of("missing", backend=ICP)
    assert {(each.memory_id, each.repair) for each in missing} == {(memory, "applied")}
    assert {each.artifact for each in missing} == {"metadata", "asset"}


def test_a_canister_whose_signatures_do_not_hold_is_unknown_and_the_others_are_not(
    box: Box, home: Path
) -> None:
    before = box.edges(ICP)
    done = box.audit(home, repair="ledger", IC_ROOT_KEY=MAINNET_ROOT_KEY)
    assert done.record.stores[ICP].state == "incomplete"
    assert "signature" in (done.record.stores[ICP].detail or "")
    check_nothing_concluded(box, done, ICP, before)
    check_others(box, done, ICP)


def test_what_a_setting_ignores_is_counted_never_orphaned_and_never_missing(
    box: Box, home: Path
) -> None:
    plain = box.audit(home)
    orphans = plain.of("orphaned", backend=BLOB)
    segment = orphans[0].location.split("/")[0]
    done = box.audit(home, EDGEKEEPER_BLOB_IGNORE=f"{segment}/")
    ignored = {each.fingerprint for each in orphans if each.location.startswith(f"{segment}/")}
    assert {each.fingerprint for each in plain.record.findings} - {
        each.fingerprint for each in done.record.findings
    } == ignored
    assert done.kinds["missing"] == plain.kinds["missing"]
    assert done.record.stores[BLOB].objects == plain.record.stores[BLOB].objects
    assert done.record.stores[BLOB].ignored > len(ignored)


def test_a_blob_that_a_memory_with_an_original_links_to_is_no_orphan(box: Box, home: Path) -> None:
    orphan = box.audit(home).of("orphaned", backend=BLOB)[0]
    before = box.edges(ICP)
    with box.canister_storage() as canister:
        held = (canister.memory(row[0]) for row in before.values())
        memory = next(
            each for each in held
            if each and any(a.asset_type == "Original" and a.body for a in each.assets)
        )  # fmt: skip
        display = replace(
            memory.assets[0], asset_id="display", kind="external", asset_type="Display",
            body=None, locator=None, location="VercelBlob", storage_key=orphan.location, url=None,
        )  # fmt: skip
        canister.update_memory(replace(memory, assets=(*memory.assets, display)))
    try:
        assert orphan.location not in {each.location for each in box.audit(home).of("orphaned")}
    finally:
        with box.canister_storage() as canister:
            canister.update_memory(memory)


def test_another_database_is_refused(sound: Box, home: Path) -> None:
    sound.audit(home)
    with psycopg.connect(sound._maintenance, autocommit=True) as conn:
        conn.execute("CREATE DATABASE restored TEMPLATE app")
    url = sound.directory.database_url.removesuffix("app") + "restored"
    try:
        with pytest.raises(StoreIdentityError, match="neon-db"):
            sound.audit(home, DATABASE_URL=url, DATABASE_URL_UNPOOLED=url)
    finally:
        with psycopg.connect(sound._maintenance, autocommit=True) as conn:
            conn.execute("DROP DATABASE restored WITH (FORCE)")


def test_a_database_without_the_tables_is_refused_and_nothing_is_made_there(
    sound: Box, home: Path
) -> None:
    url = sound._maintenance
    with pytest.raises(SchemaError) as refused:
        sound.audit(home, repair="ledger", DATABASE_URL=url, DATABASE_URL_UNPOOLED=url)
    assert refused.value.exit_code == 2
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT to_regnamespace('audit')").fetchone() == (None,)
    assert not (home / "runs").exists()


def test_a_second_writing_run_is_refused_while_one_holds_the_lease(box: Box, home: Path) -> None:
    before = box.edges()
    box.audit(home)
    connecting = connector(box.directory.database_url)
    with held(connecting, "20260101T000000Z-aaaa", flow="nightly-audit", policy="ledger"):
        with pytest.raises(LeaseError) as refused:
            box.audit(home, repair="ledger")
        assert refused.value.exit_code == 4
        assert box.audit(home).code == 1  # reading needs no lease
    assert box.edges() == before


def test_a_run_that_was_overtaken_writes_nothing_any_more(box: Box, home: Path) -> None:
    before = box.edges()

    def take_over() -> None:
        box.sql("UPDATE audit.run SET fencing_token = fencing_token + 1 WHERE holds_lease")

    with pytest.raises(EdgekeeperError, match="taken over"):
        box.audit(home, repair="ledger", before={"mend": take_over})
    assert box.edges() == before


@pytest.mark.parametrize("store", [BLOB, ICP])
def test_of_a_store_that_is_not_configured_nothing_is_concluded(
    store: str, box: Box, home: Path
) -> None:
    variable = {BLOB: "BLOB_READ_WRITE_TOKEN", ICP: "CANISTER_ID_BACKEND"}[store]
    before = box.edges(store)
    done = box.audit(home, repair="ledger", **{variable: ""})
    assert done.code == 1
    assert done.record.stores[store].state == "not-configured"
    assert not done.of("missing", "unmarked", "untracked", "sync_failed", backend=store)
    assert box.edges(store) == before
    check_others(box, done, store)
    if store == ICP:  # a memory that was never on ICP is lost without looking there
        never_there = {row[0] for row in before.values()}
        lost = {each.memory_id for each in box.truth if each.kind == "lost"} - never_there
        assert lost
        assert {each.memory_id for each in done.of("lost")} == lost
    else:
        assert not done.of("lost")


def test_what_could_not_be_seen_is_not_closed_in_the_history(box: Box, home: Path) -> None:
    box.audit(home)
    opened = "SELECT count(*) FROM audit.finding WHERE resolved_at IS NULL AND backend = %s"
    before = box.sql(opened, BLOB)
    box.fault(BLOB, "status", FORBIDDEN, **LIST)
    box.audit(home)
    assert box.sql(opened, BLOB) == before
    box.revive()
    box.audit(home, before={"conclude": lambda: box.kill("blob")})
    assert box.sql(opened, BLOB) == before


def test_a_resumed_run_goes_on_with_what_it_was_begun_with_or_says_so(
    sound: Box, home: Path
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sound.audit(home, repair="ledger", verify="1000", before={"resolve": interrupt})
    (run_id,) = run_ids(home)
    settings = sound.settings(home)
    for asked, named in (
        ({"repair": RepairPolicy.CONTENT}, "--repair"),
        ({"repair": RepairPolicy.NONE}, "--repair"),
        ({"verify": "2000"}, "--verify asks"),
        ({"verify_minutes": 3.0}, "--verify-minutes"),
        ({"stores": ["vercel-blob"], "allow_percent": 3.0}, "--allow-percent, --store"),
    ):
        with (
            pytest.raises(UsageError, match=f"{run_id} goes on with .*{named}"),
            audit.under_way(settings, audit.options_of(settings, **asked), run_id),
        ):
            pytest.fail("it went on with something else")
    same = audit.options_of(settings, verify="1000", allow_percent=100.0)
    with audit.under_way(settings, same, run_id) as (run, _):
        assert (run.run_id, run.options.verify_budget) == (run_id, 1000)
