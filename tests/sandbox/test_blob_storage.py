"""The storage under the Vercel Blob stand-in, held against plain lists."""

from pathlib import Path
from tempfile import TemporaryDirectory

from blob_server import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.blob.storage import BlobStorage, after_prefix

NAMES = st.text(alphabet="ab/\0%\ud7ff\ue000\uffff\U00010000\U0010ffff", min_size=1, max_size=6)


def walk(
    storage: BlobStorage, *, limit: int, prefix: str, folded: bool
) -> tuple[list[str], list[str]]:
    names: list[str] = []
    folders: list[str] = []
    start: str | None = ""
    while start is not None:
        page = storage.page(limit=limit, prefix=prefix, start=start, folded=folded)
        assert len(page.objects) + len(page.folders) <= limit
        names += [obj.pathname for obj in page.objects]
        folders += page.folders
        start = page.following
    return names, folders


@settings(deadline=None, max_examples=60)
@given(st.sets(NAMES, max_size=30), st.one_of(st.just(""), NAMES), st.integers(1, 8))
def test_pages_add_up_to_what_a_sorted_list_would_give(
    names: set[str], prefix: str, limit: int
) -> None:
    under = sorted((name for name in names if name.startswith(prefix)), key=str.encode)
    rests = [name[len(prefix) :].partition("/") for name in under]
    with TemporaryDirectory() as directory:
        storage = BlobStorage(Path(directory))
        storage.insert(seeded(name, 1) for name in names)
        assert walk(storage, limit=limit, prefix=prefix, folded=False) == (under, [])
        files, folders = walk(storage, limit=limit, prefix=prefix, folded=True)
        storage.close()
    assert files == [prefix + rest for rest, slash, _ in rests if not slash]
    assert folders == list(dict.fromkeys(f"{prefix}{rest}/" for rest, slash, _ in rests if slash))


@given(NAMES, NAMES)
def test_the_end_of_a_prefix_parts_what_begins_with_it_from_what_comes_later(
    prefix: str, other: str
) -> None:
    end = after_prefix(prefix)
    below = not isinstance(end, str) or other.encode() < end.encode()
    assert other.startswith(prefix) == (prefix.encode() <= other.encode() and below)


def test_two_processes_see_each_others_objects(tmp_path: Path) -> None:
    one, two = BlobStorage(tmp_path), BlobStorage(tmp_path)
    obj = seeded("x")
    assert one.insert([obj]) == 1
    assert two.get("x") == obj
    received = two.bodies.write([b"up", b"loaded"])
    two.put(seeded("x", received.size, body=received.body, etag=received.md5), if_match=obj.etag)
    found = one.get("x")
    assert found is not None
    assert one.open(found).read(1, 4) == b"plo"
    assert one.delete(["x", "absent"]) == 1
    assert two.count() == 0
    one.close()
    two.close()


def test_the_same_bytes_put_again_in_the_same_moment_are_a_newer_version(tmp_path: Path) -> None:
    storage = BlobStorage(tmp_path)
    times = []
    for _ in range(3):
        storage.put(seeded("x"), allow_overwrite=True)
        found = storage.get("x")
        assert found is not None
        times.append(found.uploaded_at)
    storage.close()
    assert times == sorted(set(times))
