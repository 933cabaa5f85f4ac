"""The Vercel Blob stand-in: its API, its object URLs, and that its data outlives it."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from blob_server import STORE_ID, TOKEN, BlobServerProcess, seeded

from sandbox.content import Generated

MIB = 1024 * 1024
md5 = partial(hashlib.md5, usedforsecurity=False)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobServerProcess]:
    server = BlobServerProcess(tmp_path_factory.mktemp("blob"))
    yield server
    server.close()


@pytest.fixture
def server(running: BlobServerProcess) -> BlobServerProcess:
    running.empty()
    return running


def walk(server: BlobServerProcess, **query: str | int) -> list[dict[str, object]]:
    """All pages of a listing."""
    pages = [server.list(**query)]
    while pages[-1]["hasMore"]:
        pages.append(server.list(**query, cursor=str(pages[-1]["cursor"])))
    return pages


def blobs(pages: list[dict[str, object]]) -> list[dict[str, object]]:
    return [blob for page in pages for blob in page["blobs"]]  # type: ignore[attr-defined]


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- listing


@pytest.mark.parametrize("limit", [1000, 999, 500, 137, 7])
def test_a_store_of_3000_objects_lists_completely_and_in_order_with_every_page_size(
    server: BlobServerProcess, limit: int
) -> None:
    names = [f"images/{n % 7}/photo {n:04d} é.jpg" for n in range(3000)]
    server.storage.insert(seeded(name, 10) for name in names)
    pages = walk(server, limit=limit)
    assert [blob["pathname"] for blob in blobs(pages)] == sorted(names, key=str.encode)
    assert len(pages) == -(-3000 // limit)
    assert "cursor" not in pages[-1]


def test_a_listing_entry_says_what_the_object_is(server: BlobServerProcess) -> None:
    obj = seeded("images/größe 1.jpg", 1234, uploaded_at=1_683_213_127_818)
    server.storage.insert([obj])
    (entry,) = blobs([server.list()])
    url = f"{server.url}/images/gr%C3%B6%C3%9Fe%201.jpg"
    assert entry == {
        "url": url,
        "downloadUrl": f"{url}?download=1",
        "pathname": "images/größe 1.jpg",
        "size": 1234,
        "uploadedAt": "2023-05-04T15:12:07.818Z",
        "etag": f'"{obj.etag}"',
    }
    assert httpx.get(url).content == Generated("images/größe 1.jpg", 1234).read()


def test_a_prefix_selects_by_its_characters_and_no_wildcards(server: BlobServerProcess) -> None:
    names = ["a%/1", "a%/2", "ab/3", "a_/4", "a\uffff", "a\U00010000", "b"]
    server.storage.insert(seeded(name, 1) for name in names)
    for prefix in ["", "a", "a%", "a_", "a\uffff", "a\U00010000", "a%/2", "none"]:
        listed = [blob["pathname"] for blob in blobs(walk(server, prefix=prefix, limit=2))]
        assert listed == sorted((n for n in names if n.startswith(prefix)), key=str.encode)


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_folded_mode_sums_up_what_lies_deeper(server: BlobServerProcess, limit: int) -> None:
    names = ["a/", "a/x", "a/y/1", "a/y/2", "a/z/1", "b/1", "b/2", "c", "d/e/f"]
    server.storage.insert(seeded(name, 1) for name in names)
    for prefix, files, folders in [
        ("", ["c"], ["a/", "b/", "d/"]),
        ("a/", ["a/", "a/x"], ["a/y/", "a/z/"]),
        ("b", [], ["b/"]),
        ("d/", [], ["d/e/"]),
    ]:
        pages = walk(server, mode="folded", prefix=prefix, limit=limit)
        assert [blob["pathname"] for blob in blobs(pages)] == files
        assert [name for page in pages for name in page["folders"]] == folders  # type: ignore[attr-defined]


def test_objects_written_between_pages_move_no_other(server: BlobServerProcess) -> None:
    server.storage.insert(seeded(f"m{n}", 1) for n in range(4))
    first = server.list(limit=2)
    server.storage.insert([seeded("a", 1), seeded("z", 1)])
    server.storage.delete(["m1"])
    rest = server.list(limit=10, cursor=str(first["cursor"]))
    assert [blob["pathname"] for blob in blobs([rest])] == ["m2", "m3", "z"]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "x"}, {"cursor": "?"}, {"cursor": "bm8="}, {"mode": "tree"}]
)
def test_a_malformed_listing_request_is_refused(
    server: BlobServerProcess, query: dict[str, str]
) -> None:
    assert error_of(server.http.get("/api/blob", params=query)) == (400, "bad_request")


# --- authorization


@pytest.mark.parametrize(
    ("authorization", "answer"),
    [
        (None, (401, "forbidden")),
        ("Bearer nonsense", (403, "forbidden")),
        (f"Bearer vercel_blob_rw_{STORE_ID}_wrong", (403, "forbidden")),
        ("Bearer vercel_blob_rw_OtherStore_secret", (403, "store_not_found")),
    ],
)
def test_only_the_stores_own_token_is_let_in(
    server: BlobServerProcess, authorization: str | None, answer: tuple[int, str]
) -> None:
    headers = {"authorization": authorization} if authorization else {}
    for method, path in [("GET", "/api/blob"), ("PUT", "/api/blob/?pathname=x")]:
        assert error_of(httpx.request(method, server.url + path, headers=headers)) == answer
    assert server.storage.count() == 0


# --- put and head


def test_what_was_put_is_found_by_url_by_pathname_and_in_the_listing(
    server: BlobServerProcess,
) -> None:
    body = b"some text"
    put = server.put("notes/a b+c%20.txt", body, x_cache_control_max_age="120").json()
    etag = f'"{md5(body).hexdigest()}"'
    assert put["pathname"] == "notes/a b+c%20.txt"
    assert put["contentType"] == "text/plain"
    assert put["contentDisposition"] == 'inline; filename="a b+c%20.txt"'
    assert put["etag"] == etag
    hosted = put["url"].replace(
        server.url, f"https://{STORE_ID.lower()}.public.blob.vercel-storage.com"
    )
    for target in [put["url"], put["downloadUrl"], put["pathname"], hosted]:
        head = server.http.get("/api/blob", params={"url": target}).json()
        assert head["pathname"] == put["pathname"]
        assert head["size"] == len(body)
        assert head["etag"] == etag
        assert head["cacheControl"] == "public, max-age=120"
    (entry,) = blobs([server.list()])
    assert entry.items() <= head.items()
    assert httpx.get(put["url"]).content == body


@pytest.mark.parametrize(
    "target",
    [
        "absent",
        "http://127.0.0.1:1/x",
        "https://other.public.blob.vercel-storage.com/x",
        "http://[",
    ],
)
def test_head_of_what_is_not_in_this_store_is_not_found(
    server: BlobServerProcess, target: str
) -> None:
    server.put("x", b"1")
    answer = server.http.get("/api/blob", params={"url": target})
    assert error_of(answer) == (404, "not_found")


def test_an_object_is_overwritten_only_when_that_is_allowed(server: BlobServerProcess) -> None:
    assert server.put("x", b"1").status_code == 200
    refused = server.put("x", b"2")
    assert error_of(refused) == (400, "bad_request")
    assert "This blob already exists" in refused.json()["error"]["message"]
    assert server.http.get("/x").content == b"1"
    assert server.put("x", b"3", x_allow_overwrite="1").status_code == 200
    assert server.http.get("/x").content == b"3"


def test_a_conditional_put_writes_over_the_named_version_only(server: BlobServerProcess) -> None:
    first = server.put("x", b"1").json()["etag"]
    second = server.put("x", b"2", x_if_match=first)
    assert second.status_code == 200
    stale = server.put("x", b"3", x_if_match=first, x_allow_overwrite="1")
    assert error_of(stale) == (412, "precondition_failed")
    assert error_of(server.put("absent", b"", x_if_match=first)) == (412, "precondition_failed")
    assert server.http.get("/x").content == b"2"


def test_a_random_suffix_makes_names_unique_and_keeps_the_extension(
    server: BlobServerProcess,
) -> None:
    names = {server.put("a/b.c.jpg", b"", x_add_random_suffix="1").json()["pathname"] for _ in "12"}
    assert len(names) == 2
    assert all(name.startswith("a/b.c-") and name.endswith(".jpg") for name in names)


@pytest.mark.parametrize(
    ("pathname", "stored"), [("é" * 950, "é" * 950), ("/lead", "lead"), ("folder/", "folder/")]
)
def test_odd_but_valid_pathnames_are_taken(
    server: BlobServerProcess, pathname: str, stored: str
) -> None:
    put = server.put(pathname, b"!")
    assert put.json()["pathname"] == stored
    assert httpx.get(put.json()["url"]).content == b"!"


@pytest.mark.parametrize(
    "pathname", ["", "/", "a//b", "é" * 951, "\U0001f600" * 476, "a/../b", "api/blob", "__faults"]
)
def test_pathnames_that_no_object_may_have_are_refused(
    server: BlobServerProcess, pathname: str
) -> None:
    assert error_of(server.put(pathname, b"!")) == (400, "bad_request")


@pytest.mark.parametrize(
    "headers",
    [
        {"x_vercel_blob_access": "secret"},
        {"x_cache_control_max_age": "soon"},
        {"x_allow_overwrite": "maybe"},
    ],
)
def test_malformed_put_headers_are_refused(
    server: BlobServerProcess, headers: dict[str, str]
) -> None:
    assert error_of(server.put("x", b"!", **headers)) == (400, "bad_request")


def test_a_large_body_is_stored_as_it_streams_in(server: BlobServerProcess) -> None:
    body = Generated("upload", 20 * MIB + 3)
    answer = server.http.put(
        "/api/blob/?pathname=large.bin", content=body.chunks(300_000), headers={}
    )
    assert answer.json()["etag"] == f'"{body.md5()}"'
    with httpx.stream("GET", answer.json()["url"]) as response:
        assert hashlib.sha256(response.read()).hexdigest() == body.sha256()


# --- copy, rename, delete


def test_a_copy_has_the_bytes_of_its_source_and_its_own_metadata(server: BlobServerProcess) -> None:
    source = server.put("x.jpg", b"bytes", x_content_type="text/x-own").json()
    for target in [source["url"], "x.jpg"]:
        copy = server.http.put(
            "/api/blob",
            params={"pathname": "y.png", "fromUrl": target},
            headers={"x-allow-overwrite": "1"},
        ).json()
        assert copy["contentType"] == "image/png"
        assert httpx.get(copy["url"]).content == b"bytes"
    again = server.http.put("/api/blob", params={"pathname": "y.png", "fromUrl": "x.jpg"})
    assert error_of(again) == (400, "bad_request")
    absent = server.http.put("/api/blob", params={"pathname": "z", "fromUrl": "absent"})
    assert error_of(absent) == (404, "not_found")
    stale = server.http.put(
        "/api/blob", params={"pathname": "z", "fromUrl": "x.jpg"}, headers={"x-if-match": '"0"'}
    )
    assert error_of(stale) == (412, "precondition_failed")


def test_a_rename_leaves_nothing_under_the_old_name(server: BlobServerProcess) -> None:
    server.put("old", b"bytes")
    answer = server.http.post("/api/blob/rename", params={"pathname": "new", "fromUrl": "old"})
    assert answer.status_code == 200
    assert [blob["pathname"] for blob in blobs([server.list()])] == ["new"]


def test_deletion_takes_urls_and_pathnames_and_passes_over_missing_ones(
    server: BlobServerProcess,
) -> None:
    url = server.put("a", b"").json()["url"]
    server.put("b", b"")
    server.put("keep", b"")
    urls = [url, "b", "absent", "https://elsewhere.example/keep", "\ud800"]
    content = json.dumps({"urls": urls})
    assert server.http.post("/api/blob/delete", content=content).status_code == 200
    assert [blob["pathname"] for blob in blobs([server.list()])] == ["keep"]


def test_a_conditional_deletion_spares_a_newer_version(server: BlobServerProcess) -> None:
    old = server.put("x", b"1").json()["etag"]
    new = server.put("x", b"2", x_allow_overwrite="1").json()["etag"]

    def delete(urls: list[str], etag: str) -> httpx.Response:
        return server.http.post(
            "/api/blob/delete", json={"urls": urls}, headers={"x-if-match": etag}
        )

    assert error_of(delete(["x"], old)) == (412, "precondition_failed")
    assert error_of(delete(["x", "y"], new)) == (400, "bad_request")
    assert server.storage.count() == 1
    assert delete(["x"], new).status_code == 200
    assert server.storage.count() == 0


@pytest.mark.parametrize(
    "content", ["", "[]", '{"urls": "x"}', '{"urls": [1]}', '{"urls": []}', "{"]
)
def test_a_malformed_deletion_is_refused(server: BlobServerProcess, content: str) -> None:
    assert error_of(server.http.post("/api/blob/delete", content=content)) == (400, "bad_request")


def test_at_most_1000_objects_are_deleted_at_once(server: BlobServerProcess) -> None:
    for count, status in [(1000, 200), (1001, 400)]:
        answer = server.http.post("/api/blob/delete", json={"urls": ["x"] * count})
        assert answer.status_code == status


# --- multipart


def mpu(
    server: BlobServerProcess, action: str, upload: dict[str, str] | None = None, **request: object
) -> httpx.Response:
    headers = {"x-mpu-action": action, **request.pop("headers", {})}  # type: ignore[dict-item]
    if upload:
        headers |= {"x-mpu-key": upload["key"], "x-mpu-upload-id": upload["uploadId"]}
    return server.http.post(
        "/api/blob/mpu",
        params={"pathname": "video.mp4"},
        headers=headers,
        **request,  # type: ignore[arg-type]
    )


def send_parts(
    server: BlobServerProcess, upload: dict[str, str], parts: list[bytes]
) -> list[dict[str, object]]:
    sent: list[dict[str, object]] = []
    for number, part in enumerate(parts, 1):
        answer = mpu(
            server, "upload", upload, content=part, headers={"x-mpu-part-number": str(number)}
        )
        sent.append({"partNumber": number, "etag": answer.json()["etag"]})
    return sent


def test_parts_are_joined_and_the_etag_counts_them(server: BlobServerProcess) -> None:
    parts = [Generated("a", 5 * MIB).read(), Generated("b", 5 * MIB).read(), b"end"]
    upload = mpu(server, "create").json()
    sent = send_parts(server, upload, parts)
    answer = mpu(server, "complete", upload, json=sent[1:] + sent[:1]).json()
    digest = md5(b"".join(md5(part).digest() for part in parts)).hexdigest()
    assert answer["etag"] == f'"{digest}-3"'
    assert answer["contentType"] == "video/mp4"
    assert httpx.get(answer["url"]).content == b"".join(parts)
    assert error_of(mpu(server, "complete", upload, json=sent)) == (404, "not_found")


def test_an_incomplete_multipart_upload_makes_no_object(
    server: BlobServerProcess,
) -> None:
    upload = mpu(server, "create").json()
    small, last = send_parts(server, upload, [b"small", b"last"])
    for listed in [
        [],
        {},
        [small, last],
        [last, small],
        [last, last],
        [{"partNumber": 3, "etag": "x"}],
        [{"partNumber": 1, "etag": last["etag"]}],
        [{"partNumber": "1"}],
    ]:
        assert error_of(mpu(server, "complete", upload, json=listed)) == (400, "bad_request")
    assert error_of(mpu(server, "finish", upload)) == (400, "bad_request")
    assert error_of(mpu(server, "upload", upload, content=b"")) == (400, "bad_request")
    unknown = {"key": "video.mp4", "uploadId": "unknown"}
    assert error_of(mpu(server, "complete", unknown, json=[small])) == (404, "not_found")
    assert server.storage.count() == 0
    assert mpu(server, "complete", upload, json=[small]).status_code == 200


# --- object URLs


BODY = Generated("object", 3 * MIB + 17)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        (f"bytes={MIB - 1}-{2 * MIB}", MIB - 1, 2 * MIB),
        (f"bytes={3 * MIB}-", 3 * MIB, BODY.length - 1),
        ("bytes=-5", BODY.length - 5, BODY.length - 1),
        (f"bytes=-{BODY.length * 2}", 0, BODY.length - 1),
        (f"bytes=5-{BODY.length * 2}", 5, BODY.length - 1),
    ],
)
def test_a_range_is_answered_with_exactly_its_bytes(
    server: BlobServerProcess, asked: str, first: int, last: int
) -> None:
    server.storage.insert([seeded("x", BODY.length, body=BODY.describe())])
    answer = server.http.get("/x", headers={"range": asked})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{BODY.length}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.content == BODY.read(first, last + 1)


@pytest.mark.parametrize("asked", [f"bytes={BODY.length}-", "bytes=-0", "bytes=99999999-"])
def test_a_range_outside_the_object_is_not_satisfiable(
    server: BlobServerProcess, asked: str
) -> None:
    server.storage.insert([seeded("x", BODY.length, body=BODY.describe())])
    answer = server.http.get("/x", headers={"range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{BODY.length}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-4", "bytes=0-1,4-5", "bytes=-", "lines=1-2", "bytes=a-"]
)
def test_what_is_no_single_range_is_answered_whole(server: BlobServerProcess, asked: str) -> None:
    server.put("x", b"0123456789")
    answer = server.http.get("/x", headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, b"0123456789")


def test_a_range_of_another_version_is_answered_whole(server: BlobServerProcess) -> None:
    etag = server.put("x", b"0123456789").json()["etag"]
    for condition, status in [(etag, 206), ('"other"', 200)]:
        headers = {"range": "bytes=1-2", "if-range": condition}
        assert server.http.get("/x", headers=headers).status_code == status


def test_a_version_the_client_has_is_not_sent_again(server: BlobServerProcess) -> None:
    etag = server.put("x", b"0123456789").json()["etag"]
    for known, status in [(etag, 304), (f'"a", W/{etag}', 304), ("*", 304), ('"other"', 200)]:
        answer = server.http.get("/x", headers={"if-none-match": known})
        assert answer.status_code == status
        assert answer.headers["etag"] == etag
        assert answer.content == (b"" if status == 304 else b"0123456789")


def test_head_of_an_object_says_what_get_would(server: BlobServerProcess) -> None:
    server.put("x.txt", b"0123456789")
    get, head = server.http.get("/x.txt"), server.http.head("/x.txt")
    assert head.content == b""
    differing = {"date"}
    assert {k: v for k, v in head.headers.items() if k not in differing} == {
        k: v for k, v in get.headers.items() if k not in differing
    }
    assert get.headers["accept-ranges"] == "bytes"
    assert get.headers["content-type"] == "text/plain"
    assert "content-encoding" not in get.headers


def test_a_download_url_asks_browsers_to_save_the_file(server: BlobServerProcess) -> None:
    url = server.put('a/"é".txt', b"").json()["downloadUrl"]
    shown = httpx.get(url).headers["content-disposition"]
    assert shown == "attachment; filename=\"___.txt\"; filename*=UTF-8''%22%C3%A9%22.txt"


def test_a_private_object_is_read_with_the_token_only(server: BlobServerProcess) -> None:
    url = server.put("x", b"private", x_vercel_blob_access="private").json()["url"]
    assert error_of(httpx.get(url)) == (401, "forbidden")
    wrong = {"authorization": f"Bearer {TOKEN}x"}
    assert error_of(httpx.get(url, headers=wrong)) == (403, "forbidden")
    answer = server.http.get(url, params={"cache": "0"})
    assert answer.content == b"private"
    assert answer.headers["cache-control"].startswith("private, ")


def test_an_empty_object_is_an_object(server: BlobServerProcess) -> None:
    url = server.put("x", b"").json()["url"]
    answer = httpx.get(url)
    assert (answer.status_code, answer.headers["content-length"]) == (200, "0")
    assert httpx.get(url, headers={"range": "bytes=0-"}).status_code == 416


def test_unknown_addresses_are_refused_in_the_apis_words(server: BlobServerProcess) -> None:
    assert error_of(server.http.get("/absent")) == (404, "not_found")
    assert error_of(server.http.put("/x", content=b"")) == (405, "not_allowed")
    assert error_of(server.http.post("/api/blob/signed-token", json={})) == (400, "bad_request")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads CPU time from /proc")
def test_nothing_more_is_made_for_a_client_that_is_gone(server: BlobServerProcess) -> None:
    huge = Generated("huge", 1 << 40)
    server.storage.insert([seeded("huge", 1, body=huge.describe(), size=huge.length)])
    for _ in range(3):
        with httpx.stream("GET", f"{server.url}/huge") as response:
            assert next(response.iter_raw())
    time.sleep(0.1)
    before = cpu_seconds(server)
    time.sleep(0.4)
    assert cpu_seconds(server) - before < 0.2


def cpu_seconds(server: BlobServerProcess) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- persistence


def test_a_killed_server_comes_back_with_all_its_data(server: BlobServerProcess) -> None:
    server.put("kept", b"uploaded")
    upload = mpu(server, "create").json()
    sent = send_parts(server, upload, [b"the only part"])
    server.kill()
    server.start()
    assert server.http.get("/kept").content == b"uploaded"
    assert mpu(server, "complete", upload, json=sent).status_code == 200
    assert [blob["pathname"] for blob in blobs([server.list()])] == ["kept", "video.mp4"]


def test_the_seeder_writes_while_the_server_serves(server: BlobServerProcess) -> None:
    with ThreadPoolExecutor(1) as seeder:
        seeding = seeder.submit(
            server.storage.insert, (seeded(f"s/{n:05d}", 1, etag="e") for n in range(20_000))
        )
        puts = 0
        while not seeding.done():
            assert server.put(f"put-{puts}", b"x").status_code == 200
            puts += 1
        assert seeding.result() == 20_000
    assert server.storage.count() == 20_000 + puts
    assert len(blobs(walk(server, prefix="s/"))) == 20_000


def test_damage_keeps_etag_and_time(server: BlobServerProcess) -> None:
    obj = seeded("x", 100)
    server.storage.insert([obj])
    damaged = seeded("x", 100, etag=obj.etag, body=Generated("x", 100, flips=(8,)).describe())
    server.storage.replace(damaged)
    answer = server.http.get("/x")
    assert answer.headers["etag"] == f'"{obj.etag}"'
    assert answer.content != Generated("x", 100).read()
    assert server.storage.get("x") == damaged


def test_an_object_whose_bytes_are_lost_is_an_internal_error(server: BlobServerProcess) -> None:
    server.storage.insert([seeded("x", body="raw:" + "0" * 64), seeded("y", body="nonsense")])
    for name in "xy":
        assert error_of(server.http.get(f"/{name}")) == (500, "internal_server_error")


# --- faults in the content of a listing


def listed(server: BlobServerProcess, **query: str | int) -> list[object]:
    return [blob["pathname"] for blob in blobs(walk(server, **query))]


def test_an_item_can_be_dropped_from_a_page(server: BlobServerProcess) -> None:
    server.storage.insert(seeded(f"x{n}", 1) for n in range(5))
    server.fault("drop_item", 1)
    assert listed(server, limit=2) == ["x0", "x2", "x3", "x4"]
    assert len(listed(server, limit=2)) == 5


def test_an_item_or_a_page_can_come_twice(server: BlobServerProcess) -> None:
    server.storage.insert(seeded(f"x{n}", 1) for n in range(3))
    server.fault("duplicate_page", 0)
    assert listed(server, limit=2) == ["x0", "x0", "x1", "x2"]
    server.fault("duplicate_page", path_regex="cursor=")
    assert listed(server, limit=2) == ["x0", "x1", "x2", "x2"]


def test_a_cursor_can_come_twice(server: BlobServerProcess) -> None:
    server.storage.insert(seeded(f"x{n}", 1) for n in range(5))
    server.fault("repeat_cursor")
    first = server.list(limit=2)
    second = server.list(limit=2, cursor=str(first["cursor"]))
    assert second["cursor"] == first["cursor"]


def test_a_listing_can_be_as_old_as_a_rule_says(server: BlobServerProcess) -> None:
    names = ["stale/old", "stale/deleted", "stale/overwritten"]
    server.storage.insert(seeded(name, 1) for name in names)
    server.put("stale/new", b"")
    server.put("stale/overwritten", b"longer", x_allow_overwrite="1")
    server.http.post("/api/blob/delete", json={"urls": ["stale/deleted"]})
    server.fault("stale_list", 60)
    stale = {blob["pathname"]: blob["size"] for blob in blobs(walk(server, prefix="stale/"))}
    assert stale == dict.fromkeys(names, 1)
    fresh = {blob["pathname"]: blob["size"] for blob in blobs(walk(server, prefix="stale/"))}
    assert fresh == {"stale/old": 1, "stale/new": 0, "stale/overwritten": 6}
