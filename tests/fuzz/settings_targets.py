"""Settings: values of every variable, connection strings, and whole ``.env`` files."""

import os
import tempfile
from pathlib import Path

from campaign import Target
from hypothesis import strategies as st
from recordings import ROOT_KEY, chosen, for_each

from checks.errors import SettingsError
from tasks.conninfo import completed
from tasks.precautions import precautions
from tasks.secret_forms import secrets_of
from tasks.settings import Settings, load_settings, masked, variable
from tasks.stores.blob.store import BlobStore
from tasks.stores.icp.store import IcpStore

VARIABLES = [variable(field) for field in Settings.model_fields]
_SECRET = "m4rked"
_files = tempfile.TemporaryDirectory(prefix="edgekeeper-fuzz-env-")
_ENV = Path(_files.name) / ".env"


def examine_settings(data: bytes) -> str:
    """One variable's value as the environment would have it, or a whole file."""
    number, raw = chosen(data, len(VARIABLES) + 1)
    if number == len(VARIABLES):
        _ENV.write_bytes(raw)
        return _used(load_settings(_ENV))
    text = os.fsdecode(raw.replace(b"\0", b"0"))
    os.environ[VARIABLES[number]] = text
    try:
        return _used(load_settings(None))
    finally:
        del os.environ[VARIABLES[number]]


def _used(settings: Settings) -> str:
    """What is made of settings that were accepted."""
    shown = str(masked(settings))
    for secret in secrets_of(settings):
        assert _SECRET not in secret or _SECRET not in shown
    list(secrets_of(settings))
    precautions(settings, _ENV)
    settings.home_path()
    for url in (settings.database_url, settings.database_url_unpooled):
        if url is not None:
            completed(url.get_secret_value(), "edgekeeper")
    if settings.blob_token is not None or settings.blob_api_url.startswith("http://"):
        address = settings.blob_address
        assert address is None or not address.owns("https://evil.example/a")
    stores = 0
    if settings.blob_token is not None:
        BlobStore(settings)
        stores += 1
    if settings.canister_id is not None:
        IcpStore.from_settings(settings)
        stores += 1
    return f"{stores} {settings.database_url is None}"


_PEM = (
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    "-----END PRIVATE KEY-----\n"
)
_VALUES = (
    f"postgresql://app:{_SECRET}@localhost/app?sslmode=require",
    f"postgresql://app:{_SECRET}@ep-x.neon.tech:5432,b/app?sslmode=verify-full&hostaddr=127.0.0.1",
    f"postgresql:///app?service=x&passfile={_SECRET}", f"vercel_blob_rw_AbC_{_SECRET}",
    "https://vercel.com/api/blob", "http://127.0.0.1:8080", "http://[::1]:80/", "https://icp-api.io",
    "ryjl3-tyaaa-aaaaa-aaaba-cai", _PEM, _PEM.replace("\n", "\\n"), "/nowhere/identity.pem",
    ROOT_KEY.hex(), "fetch", "s3://bucket/prefix", "memory://x", "dask:tcp://h:1", "60", "-1", "1.0",
    "1e999", "nan", "5GB", "all", "9" * 400 + "TB", "hobby", "avatars,reports/", "a" * 3000,
    "slack://a/b/c,mailto://u:p@h", "~nobody-here/x", "~", "1" * 5000,
)  # fmt: skip
_value = st.sampled_from(_VALUES) | st.text(max_size=20) | st.builds(
    lambda scheme, rest: f"{scheme}://{rest}",
    st.sampled_from(["postgresql", "postgres", "http", "https", "s3", "file"]), st.text(max_size=24),
)  # fmt: skip
_line = st.builds(
    lambda name, equals, quote, value: f"{name}{equals}{quote}{value}{quote}",
    st.sampled_from([*VARIABLES, "export A", "", "#"]), st.sampled_from(["=", " = ", "", "=="]),
    st.sampled_from(["", "'", '"']), _value,
)  # fmt: skip


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


SETTINGS = Target(
    "settings",
    [for_each(number % (len(VARIABLES) + 1), _encoded(value))
     for value in _VALUES for number in range(len(VARIABLES))]
    + [for_each(len(VARIABLES), _encoded(f"{name}={value}\n"))
       for name, value in zip(VARIABLES, _VALUES, strict=False)],
    st.builds(for_each, st.integers(0, len(VARIABLES) - 1), _value.map(_encoded))
    | st.builds(
        for_each, st.just(len(VARIABLES)), st.lists(_line, max_size=5).map("\n".join).map(_encoded)
    ),
    examine_settings,
)  # fmt: skip
assert issubclass(SettingsError, SETTINGS.expected)
