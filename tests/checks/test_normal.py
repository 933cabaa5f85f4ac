"""Normal forms: equal things compare equal, and hostile URLs are nobody's but their owner's."""

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from checks import normal
from checks.normal import BlobAddress, LocationProblem

ADDRESS = BlobAddress("AbC123")
HOST = "abc123.public.blob.vercel-storage.com"
PRIVATE = "abc123.private.blob.vercel-storage.com"
LOCAL = BlobAddress("AbC123", "127.0.0.1:3000")

SEGMENT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/"),
    min_size=1, max_size=30,
).filter(lambda segment: segment not in (".", ".."))  # fmt: skip
PATHNAMES = st.tuples(st.lists(SEGMENT, min_size=1, max_size=5), st.booleans()).map(
    lambda parts: "/".join(parts[0]) + ("/" if parts[1] else "")
)


@given(PATHNAMES)
@example("a%20b%2Fc")
@example("100%.jpg")
@example("%")
@example("q?a=b#c")
@example("+ &=;,@:")
@example("e\u0301")
@example("\u00e9")
@example("\U0001f600/🏝.jpg")
@example("a\\b")
@example("Case")
@example(" ")
def test_a_pathname_and_its_urls_have_one_normal_form(pathname: str) -> None:
    for url in ADDRESS.urls(pathname):
        assert ADDRESS.owns(url)
        assert ADDRESS.pathname(url, bare=False) == pathname
        assert ADDRESS.pathname(url + "?download=1#x", bare=False) == pathname
        assert ADDRESS.pathname(url, bare=True) == pathname
    local = f"http://127.0.0.1:3000/{normal.url_path(pathname)}"
    assert LOCAL.pathname(local, bare=False) == pathname


@given(PATHNAMES)
def test_the_url_that_the_http_client_asks_for_names_the_same_pathname(pathname: str) -> None:
    url = httpx.URL(ADDRESS.urls(pathname)[0])
    assert ADDRESS.pathname(f"https://{url.host}{url.raw_path.decode()}", bare=False) == pathname


@given(PATHNAMES)
def test_a_url_that_was_not_encoded_names_the_same_pathname(pathname: str) -> None:
    plain = pathname.translate({ord(char): None for char in "%?#\\"})
    if plain and "//" not in plain and not {".", ".."} & set(plain.split("/")):
        named = ADDRESS.pathname(f"https://{HOST}/{plain}", bare=False)
        assert named == (LocationProblem.UNPARSEABLE if plain.startswith("/") else plain)


@given(PATHNAMES.filter(lambda name: not normal._NO_BARE_PATHNAME.match(name) and name.strip()))
def test_a_bare_pathname_is_itself(pathname: str) -> None:
    assert ADDRESS.pathname(pathname, bare=True) == pathname
    assert ADDRESS.pathname("/" + pathname, bare=True) == pathname


@given(st.text())
def test_no_text_whatever_breaks_it(text: str) -> None:
    for location in (text, f"https://{text}", f"https://{HOST}{text}", f"https://{HOST}/{text}"):
        for bare in (True, False):
            named = ADDRESS.pathname(location, bare=bare)
            assert isinstance(named, str)
        if ADDRESS.owns(location):
            assert httpx.URL(location).host in (HOST, PRIVATE)


@pytest.mark.parametrize(
    "url",
    [
        f"https://{HOST}/a",
        f"https://{HOST}:443/a",
        f"HTTPS://{HOST.upper()}/a",
        f"https://{PRIVATE}/a?cache=0",
        f"https://{HOST}",
        f"https://{HOST}?x",
    ],
)
def test_the_store_s_own_urls(url: str) -> None:
    assert ADDRESS.owns(url)


HOSTILE = [
    f"http://{HOST}/a",
    f"https://{HOST}:444/a",
    f"https://{HOST}:/a",
    f"https://{HOST}:99999/a",
    f"https://{HOST}.evil.example/a",
    f"https://evil.example/{HOST}/a",
    f"https://evil-{HOST}/a",
    f"https://sub.{HOST}/a",
    f"https://{HOST}./a",
    f"https://{HOST}@evil.example/a",
    f"https://user:word@{HOST}/a",
    f"https://evil.example#@{HOST}/a",
    f"https://evil.example\\@{HOST}/a",
    f"https://{HOST}\\@evil.example/a",
    f"https://{HOST}\\.evil.example/a",
    f"https:\\\\{HOST}\\a",
    f"https:/{HOST}/a",
    f"https:{HOST}/a",
    f"//{HOST}/a",
    f" https://{HOST}/a",
    f"ht\ntps://{HOST}/a",
    f"https://{HOST}\t/a",
    f"https://{HOST}\n.evil.example/a",
    f"https://{HOST}%2eevil.example/a",
    f"https://{HOST}%00.evil.example/a",
    f"https://{HOST.replace('c', chr(0x441))}/a",
    f"https://{HOST.replace('.', chr(0x3002))}/a",
    f"https://{HOST.replace('a', chr(0xFF41))}/a",
    f"https://{HOST.replace('1', chr(0x661))}/a",
    f"https://{HOST.replace('public', 'publ' + chr(0x131) + 'c')}/a",
    f"https://{HOST.replace('s', chr(0x17F))}/a",
    "https://abc123.blob.vercel-storage.com/a",
    "https://abc123.secret.blob.vercel-storage.com/a",
    "https://abc12.public.blob.vercel-storage.com/a",
    "https://[::1]/a",
    "https://[::ffff:127.0.0.1]/a",
    "https://127.0.0.1:3000@evil.example/a",
    "https://[/a",
    "https://[abc/a",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_look_alikes_are_not_the_store_s(url: str) -> None:
    for address in (ADDRESS, LOCAL):
        assert not address.owns(url)
        assert not address.takes_token(url)
        assert isinstance(address.pathname(url, bare=False), LocationProblem)


def test_the_token_goes_to_private_hosts_and_the_overridden_api_only() -> None:
    assert ADDRESS.takes_token(f"https://{PRIVATE}/a")
    assert not ADDRESS.takes_token(f"https://{HOST}/a")
    assert LOCAL.takes_token("http://127.0.0.1:3000/a")
    assert not LOCAL.takes_token("http://127.0.0.1:3001/a")
    assert not LOCAL.takes_token(f"https://{HOST}/a")


def test_an_overridden_origin_is_that_host_and_port_and_protected() -> None:
    far = BlobAddress("x", "blob.example:443")
    assert far.owns("https://blob.example/a")
    assert not far.owns("http://blob.example:443/a")
    assert not far.owns("https://blob.example:8443/a")
    assert BlobAddress("x", "::1:3000").owns("http://[::1]:3000/a")
    assert BlobAddress("x", "localhost:80").owns("http://localhost/a")


@pytest.mark.parametrize(
    ("location", "bare", "named"),
    [
        (None, True, LocationProblem.NULL),
        ("", True, LocationProblem.NULL),
        ("  ", False, LocationProblem.NULL),
        ("images/a.jpg", False, LocationProblem.RELATIVE),
        ("/images/a.jpg", False, LocationProblem.RELATIVE),
        ("images/a.jpg", True, "images/a.jpg"),
        ("/images/a.jpg", True, "images/a.jpg"),
        ("note:1.txt", True, "note:1.txt"),
        ("note:1.txt", False, LocationProblem.FOREIGN),
        ("data:image/png;base64,AAAA", True, LocationProblem.FOREIGN),
        ("DATA:image/png;base64,AAAA", True, LocationProblem.FOREIGN),
        ("ftp://x/a", True, LocationProblem.FOREIGN),
        ("ipfs://x/a", False, LocationProblem.FOREIGN),
        ("https://cdn.example/a", False, LocationProblem.FOREIGN),
        (f"https://{HOST}", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}//a", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/a//b", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/a%2F%2Fb", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/a%2Fb", False, "a/b"),
        (f"https://{HOST}/a/../b", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/a/%2e%2E/b", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/a\\b", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/a%5Cb", False, "a\\b"),
        (f"https://{HOST}/a\nb", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/a%0Ab", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/%FF", False, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/%zz", False, "%zz"),
        (f"https://{HOST}/a+b", False, "a+b"),
        (f"https://{HOST}/a b", False, "a b"),
        (f"https://{HOST}/folder/", False, "folder/"),
        ("https://[::1", False, LocationProblem.UNPARSEABLE),
        ("\ud800", True, LocationProblem.UNPARSEABLE),
        (f"https://{HOST}/\ud800", False, LocationProblem.UNPARSEABLE),
        ("a" * 950, True, "a" * 950),
        ("a" * 951, True, LocationProblem.UNPARSEABLE),
        ("\U0001f600" * 475, True, "\U0001f600" * 475),
        ("\U0001f600" * 476, True, LocationProblem.UNPARSEABLE),
    ],
)
def test_what_locations_name(location: str | None, bare: bool, named: str) -> None:  # noqa: FBT001
    found = ADDRESS.pathname(location, bare=bare)
    assert found == named
    assert isinstance(found, LocationProblem) == isinstance(named, LocationProblem)


def test_the_leading_segment() -> None:
    assert normal.leading_segment("images/2024/a.jpg") == "images"
    assert normal.leading_segment("images2/a.jpg") == "images2"
    assert normal.leading_segment("a.jpg") == ""


@given(st.uuids())
def test_a_uuid_s_key_is_the_same_in_any_case(value: object) -> None:
    text = str(value)
    assert normal.key_of_uuid(text) == normal.key_of_uuid(text.upper())
    assert normal.key_of_memory_id(text) == normal.key_of_memory_id(text.upper())
    assert normal.is_canonical_uuid(text)
    high, low = normal.key_of_uuid(text)
    assert f"{high:016x}{low:016x}" == text.replace("-", "")


@pytest.mark.parametrize(
    "text", ["{00000000-0000-0000-0000-000000000000}", "0" * 32, "urn:uuid:" + "0" * 36, "", "x", "00000000-0000-0000-0000-00000000000\uff10"]
)  # fmt: skip
def test_what_only_resembles_a_uuid_is_none(text: str) -> None:
    assert not normal.is_uuid(text)


@given(
    st.text(st.characters(exclude_characters="/"), min_size=1),
    st.text(st.characters(exclude_characters="/"), min_size=1),
)
def test_canister_locations_are_taken_apart_as_they_were_made(capsule: str, memory: str) -> None:
    location = normal.icp_location(capsule, memory)
    assert normal.icp_capsule_id(location) == capsule
    assert normal.icp_memory_id(location) == memory


@pytest.mark.parametrize("text", ['"abc"', 'W/"abc"', "abc"])
def test_etags_are_compared_without_marks(text: str) -> None:
    assert normal.etag(text) == "abc"


@pytest.mark.parametrize(
    ("pathname", "ignored"),
    [
        ("avatars/x", True),
        ("avatars/y/z", True),
        ("reports", True),
        ("avatars2/x", False),
        ("reports.txt", False),
        ("i/avatars/x", False),
    ],
)
def test_ignored_prefixes_are_whole_path_segments(pathname: str, ignored: bool) -> None:  # noqa: FBT001
    assert normal.is_ignored(pathname, ("avatars", "/reports/", "i/av", "", "/")) is ignored


@pytest.mark.parametrize(
    "name",
    ["\ud800", "a/\udfff", "https://%s/a\ud800", "https://%s/a?\ud800", "//\ud800", "x:\ud800"],
)
def test_half_of_a_surrogate_pair_names_nothing_and_breaks_nothing(name: str) -> None:
    text = name.replace("%s", HOST)
    for bare in (True, False):
        assert isinstance(ADDRESS.pathname(text, bare=bare), LocationProblem)
    assert not ADDRESS.owns(text)
    assert normal.url_path(text).isascii()
    assert all(0 <= half < 2**64 for half in normal.key_of_memory_id(text))
