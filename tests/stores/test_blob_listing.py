"""The blob listing: whole, or known not to be."""

from datetime import UTC, datetime
from typing import Any

import pytest
from blob_process import BlobProcess

from checks.model import StoreState
from tasks.stores.blob import BlobStore, BlobVersion, listing
from tasks.stores.blob.answers import Blob
from tasks.stores.protocol import ListingReport

pytestmark = pytest.mark.usefixtures("no_waiting")
NOW = datetime(2026, 11, 23, tzinfo=UTC)


async def listed(store: BlobStore) -> tuple[list[str], ListingReport]:
    report = ListingReport(StoreState.INCOMPLETE)
    names = [row["location"] async for batch in store.list_batches(report) for row in batch]
    return names, report


def page(names: list[str], **more: Any) -> dict[str, Any]:
    entries = [
        {
            "url": f"https://abcdef123.public.blob.vercel-storage.com/{name}",
            "pathname": name,
            "size": 1,
            "uploadedAt": "2026-11-23T00:00:00.000Z",
            "etag": '"e"',
        }
        for name in names
    ]
    return {"blobs": entries, "hasMore": False} | more


def answer(blobs: BlobProcess, *bodies: Any) -> None:
    for body in bodies:
        blobs.fault("status", {"status": 200, "body": body}, method="GET", path="limit=1000")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tasks.stores.blob.asking.list_page.__kwdefaults__",
        {"limit": 2, "on_attempt": lambda: None},
    )


async def test_an_empty_store_is_listed_whole(store: BlobStore) -> None:
    names, report = await listed(store)
    assert (names, report.state, report.objects) == ([], StoreState.COMPLETE, 0)


@pytest.mark.usefixtures("small_pages")
async def test_every_page_is_followed(blobs: BlobProcess, store: BlobStore) -> None:
    for number in range(7):
        blobs.put(f"{number}", b"x" * number)
    names, report = await listed(store)
    assert names == [str(number) for number in range(7)]
    assert (report.state, report.requests, report.bytes) == (StoreState.COMPLETE, 4, 21)
    assert report.detail is None


@pytest.mark.usefixtures("small_pages")
async def test_a_repeated_cursor_ends_an_endless_listing(
    blobs: BlobProcess, store: BlobStore
) -> None:
    for number in range(7):
        blobs.put(f"{number}", b"")
    blobs.fault("repeat_cursor", times=None)
    _, report = await listed(store)
    assert report.state is StoreState.INCOMPLETE
    assert "cursor" in (report.detail or "")


async def test_a_cursor_of_long_ago_is_recognised(blobs: BlobProcess, store: BlobStore) -> None:
    cursors = ["one", "two", "three", "one"]
    answer(blobs, *(page([c + str(n)], hasMore=True, cursor=c) for n, c in enumerate(cursors)))
    names, report = await listed(store)
    assert len(names) == 4
    assert report.state is StoreState.INCOMPLETE
    assert report.requests == 4


@pytest.mark.usefixtures("small_pages")
async def test_a_page_that_comes_twice_is_counted_once(
    blobs: BlobProcess, store: BlobStore
) -> None:
    for number in range(7):
        blobs.put(f"{number}", b"")
    blobs.fault("duplicate_page", method="GET", path="cursor")
    blobs.fault("duplicate_page", 0, method="GET", path="cursor")
    names, report = await listed(store)
    assert names == [str(number) for number in range(7)]
    assert report.state is StoreState.COMPLETE
    assert "3 objects again" in (report.detail or "")


async def test_no_order_is_relied_on(blobs: BlobProcess, store: BlobStore) -> None:
    answer(
        blobs,
        page(["m", "b"], hasMore=True, cursor="1"),
        page(["a", "z", "b"], hasMore=True, cursor="2"),
        page(["c", "m", "y", "a"]),
    )
    names, report = await listed(store)
    assert sorted(names) == ["a", "b", "c", "m", "y", "z"]
    assert len(names) == 6
    assert report.state is StoreState.COMPLETE


async def test_an_empty_page_before_the_last_is_passed(
    blobs: BlobProcess, store: BlobStore
) -> None:
    answer(
        blobs,
        page(["a"], hasMore=True, cursor="1"),
        page([], hasMore=True, cursor="2"),
        page(["b"]),
    )
    names, report = await listed(store)
    assert (names, report.state) == (["a", "b"], StoreState.COMPLETE)


async def test_pages_without_anything_new_do_not_go_on_for_ever(
    blobs: BlobProcess, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "BARREN_PAGES", 5)
    answer(blobs, *(page(["a"], hasMore=True, cursor=str(n)) for n in range(20)))
    names, report = await listed(store)
    assert (names, report.state) == (["a"], StoreState.INCOMPLETE)
    assert report.requests <= 8


ITEM = page(["a"])["blobs"][0]


@pytest.mark.parametrize(
    "body",
    [
        {"hasMore": False},
        {"blobs": None, "hasMore": False},
        {"blobs": []},
        {"blobs": [], "hasMore": "false"},
        {"blobs": [], "hasMore": True},
        {"blobs": [], "hasMore": True, "cursor": ""},
        {"blobs": [], "hasMore": True, "cursor": 7},
        {"blobs": [None], "hasMore": False},
        {"blobs": ["a"], "hasMore": False},
        *({"blobs": [{k: v for k, v in ITEM.items() if k != gone}], "hasMore": False} for gone in ITEM),
        *(
            {"blobs": [ITEM | wrong], "hasMore": False}
            for wrong in (
                {"size": -1}, {"size": "1"}, {"size": 1.5}, {"size": True}, {"pathname": ""},
                {"pathname": None}, {"uploadedAt": "yesterday"}, {"uploadedAt": 5}, {"etag": "a\r\nb"},
                {"uploadedAt": "2026-11-23T00:00:00"}, {"etag": None}, {"url": 5},
            )
        ),
        [], None, "page", "<html>sign in</html>",
    ],
)  # fmt: skip
async def test_a_page_that_makes_no_sense_makes_the_listing_incomplete(
    blobs: BlobProcess, store: BlobStore, body: Any
) -> None:
    answer(blobs, page(["before"], hasMore=True, cursor="1"), body)
    names, report = await listed(store)
    assert (names, report.state) == (["before"], StoreState.INCOMPLETE)
    assert report.detail


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(("action", "value"), [("status", 503), ("reset", None), ("truncate", 20)])
async def test_a_page_that_fails_again_and_again_leaves_the_listing_incomplete(
    blobs: BlobProcess, store: BlobStore, action: str, value: Any
) -> None:
    for number in range(5):
        blobs.put(f"{number}", b"")
    blobs.fault(action, value, times=None, path="cursor")
    names, report = await listed(store)
    assert (names, report.state) == (["0", "1"], StoreState.INCOMPLETE)
    assert report.requests == 1 + 3
    assert report.detail


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(("action", "value"), [("status", 503), ("reset", None), ("truncate", 20)])
async def test_a_page_that_fails_once_is_asked_for_again(
    blobs: BlobProcess, store: BlobStore, action: str, value: Any
) -> None:
    for number in range(5):
        blobs.put(f"{number}", b"")
    blobs.fault(action, value, path="cursor")
    names, report = await listed(store)
    assert (len(names), report.state, report.requests) == (5, StoreState.COMPLETE, 4)


async def test_not_found_to_a_listing_is_another_server_not_an_empty_store(
    blobs: BlobProcess, store: BlobStore
) -> None:
    body = {"error": {"code": "not_found", "message": "No such route"}}
    blobs.fault("status", {"status": 404, "body": body})
    names, report = await listed(store)
    assert (names, report.state) == ([], StoreState.INCOMPLETE)
    assert "VERCEL_BLOB_API_URL" in (report.detail or "")


async def test_a_listing_that_is_abandoned_is_incomplete(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"")
    report = ListingReport(StoreState.COMPLETE)
    batches = store.list_batches(report)
    await anext(batches)
    await batches.aclose()  # type: ignore[attr-defined]
    assert report.state is StoreState.INCOMPLETE


async def test_what_a_setting_ignores_is_listed_and_counted_all_the_same(
    blobs: BlobProcess,
) -> None:
    for name in ("avatars/x", "avatars/y/z", "avatars2/x", "reports", "reports.txt", "i/avatars/x"):
        blobs.put(name, b"1")
    async with blobs.store(blob_ignore=("avatars", "/reports/", "i/av")) as store:
        names, report = await listed(store)
    assert len(names) == 6
    assert (report.objects, report.bytes, report.ignored) == (6, 6, 3)
    assert report.state is StoreState.COMPLETE


def test_objects_are_told_apart_in_eight_bytes_each() -> None:
    unseen = listing._Unseen()
    for start in range(0, 100_000, 1000):
        batch = [Blob(f"{n:08}", "u", 0, "e", NOW) for n in range(start, start + 1000)]
        assert len(unseen.of(batch)) == 1000
    assert unseen._hashes.itemsize * len(unseen._hashes) == 800_000
    assert unseen.of([Blob("00000007", "u", 0, "e", NOW)]) == []


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("abc@2026-11-23T00:00:00.000Z", BlobVersion("abc", NOW)),
        ('W/"abc"', BlobVersion("abc", None)),
        ("a@b", BlobVersion("a@b", None)),
        ("a@b@2026-11-23T01:00:00+01:00", BlobVersion("a@b", NOW)),
        ("abc@", BlobVersion("abc@", None)),
        ("", BlobVersion("", None)),
    ],
)
def test_versions_are_parsed(text: str, version: BlobVersion) -> None:
    assert BlobVersion.parse(text) == version
    assert BlobVersion.parse(str(version)) == version


def test_the_same_bytes_put_again_are_another_version() -> None:
    first, again = BlobVersion("e", NOW), BlobVersion("e", NOW.replace(second=1))
    assert str(first) != str(again)
    assert not first.is_kept_by(again)
    assert BlobVersion("e", None).is_kept_by(again)
    assert not BlobVersion("f", None).is_kept_by(again)


async def test_a_listing_that_invents_objects_for_ever_is_given_up(
    blobs: BlobProcess, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SPARE_PAGES", 30)
    blobs.put("a", b"")
    blobs.fault("fresh_cursor", 7, times=None)
    names, report = await listed(store)
    assert report.state is StoreState.INCOMPLETE
    assert "no end within 30 pages" in (report.detail or "")
    assert len(names) == 1 + 30 * 7


async def test_a_store_may_have_many_times_the_objects_that_are_expected(
    blobs: BlobProcess, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SPARE_PAGES", 0)
    answer(blobs, *(page([str(n)], hasMore=n < 19, cursor=str(n)) for n in range(20)))
    report = ListingReport(StoreState.INCOMPLETE, expected=1_000)
    assert len([batch async for batch in store.list_batches(report)]) == 20
    assert report.state is StoreState.COMPLETE
