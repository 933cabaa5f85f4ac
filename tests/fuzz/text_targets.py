"""Texts: URLs and pathnames, what is masked and shown, the interface a canister publishes."""

import httpx
import pyarrow as pa
from campaign import Target
from hypothesis import strategies as st
from recordings import chosen, for_each, recorded

from checks import normal
from checks.errors import SettingsError
from checks.normal import BlobAddress, LocationProblem
from tasks import log, wording
from tasks.blob_names import pathnames
from tasks.join_keys import memory_keys, text_keys
from tasks.settings import MASK
from tasks.stores.icp.compatibility import check_interface, service_methods
from tasks.stores.icp.envelope import decode_cbor
from tasks.stores.icp.hash_tree import HashTree
from tasks.stores.icp.listing import _check_cursor

STORE = "AbCdEf123"
ADDRESSES = (BlobAddress(STORE), BlobAddress(STORE, "127.0.0.1:8080"), BlobAddress(STORE, "::1:80"))
HOSTS = {f"{STORE.lower()}.{mode}.blob.vercel-storage.com" for mode in ("public", "private")}

# Names --------------------------------------------------------------------------------------------


def examine_name(data: bytes) -> str:
    """Everything that looks at a location or an id; lone surrogates come through too."""
    number, raw = chosen(data, len(ADDRESSES))
    text = raw.decode("utf-8", "surrogatepass" if number == 2 else "replace")
    address = ADDRESSES[number]
    found = address.pathname(text, bare=False)
    bare = address.pathname(text, bare=True)
    _owned_is_ours(address, text)
    assert pathnames(address, [text]) == [found]
    assert pathnames(address, [text], bare=True) == [bare]
    for name in (found, bare):
        if not isinstance(name, LocationProblem):
            _is_a_name(address, name)
    _ids(text)
    return f"{_kind(found)} {_kind(bare)} {normal.is_uuid(text)}"


def _kind(found: str) -> str:
    return found.name if isinstance(found, LocationProblem) else "pathname"


def _owned_is_ours(address: BlobAddress, text: str) -> None:
    """What counts as the store's own leads the HTTP client there and nowhere else."""
    if not address.owns(text):
        return
    url = httpx.URL(text)
    own = url.scheme == "https" and url.host in HOSTS and url.port in (None, 443)
    port = url.port or (443 if url.scheme == "https" else 80)
    assert own or f"{url.host}:{port}" == address.origin, url
    assert not url.userinfo, url


def _is_a_name(address: BlobAddress, name: str) -> None:
    assert name
    assert len(name.encode("utf-16-le")) <= 2 * normal.MAX_PATHNAME_UTF16_UNITS
    if not any(segment in (".", "..") for segment in name.split("/")):
        assert all(address.pathname(url, bare=False) == name for url in address.urls(name))
    normal.leading_segment(name)
    normal.is_ignored(name, ("avatars/", ""))
    text_keys([name])


def _ids(text: str) -> None:
    for read in (normal.icp_memory_id, normal.icp_capsule_id, normal.etag, normal.key_of_memory_id):
        read(text)
    if normal.is_uuid(text):
        assert normal.key_of_uuid(text) == normal.key_of_memory_id(text)
    if text.isprintable():
        high, low = memory_keys(pa.array([text]))
        assert (int(high[0]), int(low[0])) == normal.key_of_memory_id(text)


_PREFIXES = (
    f"https://{STORE.lower()}.public.blob.vercel-storage.com",
    f"https://{STORE}.private.blob.vercel-storage.com:443", "http://127.0.0.1:8080",
    "http://[::1]:80", "https://evil.example", "//", "", "icp://capsule-1", "data:", "C:",
    f"https://{STORE}.public.blob.vercel-storage.com@evil.example",
    f"https://{STORE}.public.blob.vercel-storage.com.evil.example",
    f"https://evil.example\\@{STORE}.public.blob.vercel-storage.com",
    f"HTTPS://{STORE.upper()}.PUBLIC.BLOB.VERCEL-STORAGE.COM:00443",
)  # fmt: skip
_segment = st.one_of(
    st.text(max_size=6), st.sampled_from(["..", ".", "%2e%2e", "%2f", "%00", "%", "%ff", "a%20b", "é",
                                          "\u202e", "a b", "?", "#", ";", "note:1"])
)  # fmt: skip
_name = st.builds(
    lambda prefix, segments: f"{prefix}{'/'.join(segments)}",
    st.sampled_from(_PREFIXES), st.lists(_segment, max_size=5),
) | st.uuids().map(str) | st.text(max_size=40)  # fmt: skip
_RECORDED_NAMES = [
    f"https://{STORE.lower()}.public.blob.vercel-storage.com/images/2024/caf%C3%A9%20(1).jpg",
    f"https://{STORE.lower()}.private.blob.vercel-storage.com/videos/a%2520b.mp4?download=1",
    "http://127.0.0.1:8080/images/a%20b.jpg#x", "images/2024/a.jpg", "/images/a.jpg",
    "icp://capsule-1/5d3c1e0a-8f57-4a0e-9a39-6d1f1a2b3c4d",
    "5D3C1E0A-8F57-4A0E-9A39-6D1F1A2B3C4D", "data:image/png;base64,AAAA",
]  # fmt: skip
NAMES = Target(
    "names",
    [for_each(number, each.encode()) for number in range(3) for each in _RECORDED_NAMES],
    st.builds(
        lambda number, text: for_each(number, text.encode("utf-8", "surrogatepass")),
        st.integers(0, 2), _name,
    ),
    examine_name,
    (UnicodeDecodeError,),
)  # fmt: skip

# Texts that are shown, and texts that are read ----------------------------------------------------

_SECRET = "a-marked-secret"


def examine_text(data: bytes) -> str:
    number, raw = chosen(data, 4)
    text = raw.decode("utf-8", "replace")
    if number == 0:
        return _masked(text)
    if number == 1:
        shown = wording.visible(text)
        assert not any(character in shown for character in "\x1b\x00\r\n\x9b\u202e\u2066")
        return "shown"
    if number == 2:
        methods = service_methods(text)
        check_interface(text)
        return f"{len(methods) > 0}"
    first, _, following = text.partition(" ")
    _check_cursor(following[:200], first[:200] or None, set())
    return "cursor"


def _masked(text: str) -> str:
    log._sinks.secrets = (_SECRET,)
    try:
        masked = log.mask(f"{text} {_SECRET} {text}")
        log.without_secrets({text: [text, (text,)]})
    finally:
        log._sinks.secrets = ()
    assert _SECRET not in masked or _SECRET in text.replace(MASK, "")
    return f"{MASK in masked.replace(_SECRET, '')}"


def _interface() -> bytes:
    """The interface that the sandbox's canister publishes."""
    for body in recorded("icp-read_state*.cbor"):
        tree = HashTree(decode_cbor(decode_cbor(body, "")["certificate"], "")["tree"])
        for canister in tree.children(b"canister").values():
            text = canister.look_up(b"metadata", b"candid:service")
            if isinstance(text, bytes):
                return text
    raise AssertionError("no interface was recorded")


_shown = st.text(
    st.sampled_from("ab/:@=-_ .\n\t\x1b\u202e\u200b\"'<>%") | st.characters(), max_size=60
) | st.lists(
    st.sampled_from(["https://", "u:", "p@", "bearer ", "vercel_blob_rw_", "a_", _SECRET, " ",
                     "-----BEGIN PRIVATE KEY-----", "-----END X-----", "postgresql://a:b@h/d"]),
    max_size=12,
).map("".join)  # fmt: skip
_pieces = st.lists(
    st.sampled_from(["service", " : ", "{", "}", "(", ")", "->", "/*", "*/", "//", "\n", ";",
                     "memories_list", "text", "whoami : () -> (principal);", " "]),
    max_size=40,
).map("".join)  # fmt: skip
TEXTS = Target(
    "texts",
    [
        for_each(0, b"could not reach postgresql://app:password@host/db: bearer abcdef, try again"),
        for_each(0, b"vercel_blob_rw_store_secret -----BEGIN PRIVATE KEY-----\nabc"),
        for_each(0, b"a" * 5000), for_each(0, b"x://y:" * 900), for_each(0, b"bearer" + b" " * 5000),
        for_each(1, "caf\u00e9 \u202egpj.exe \x1b[31m".encode()),
        for_each(2, _interface()), for_each(2, b"/*" * 3000), for_each(2, b"service:(" * 900),
        for_each(2, b"service : { memories_list : (text) -> (); }"),
        for_each(3, b"100 200"), for_each(3, b"c1 c2"),
    ],
    st.builds(
        lambda number, text: for_each(number, text.encode("utf-8", "replace")),
        st.integers(0, 3), _shown | _pieces,
    ),
    examine_text,
)  # fmt: skip
assert issubclass(SettingsError, TEXTS.expected)
