"""Nothing goes over a network in plain text, or to whoever can't prove who it is."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from listening import Talk, Visits, http_ok, listener, remember, self_signed, with_tls
from pydantic import SecretStr

from checks.errors import SettingsError, StoreUnreachableError
from tasks import heartbeat
from tasks.database import connect
from tasks.settings import Settings, load_settings
from tasks.stores.blob.store import BlobStore
from tasks.stores.icp.transport import Transport

PASSWORD = "marked-password-of-the-database"
TOKEN = "vercel_blob_rw_store1_markedsecret"
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
FAR = f"postgresql://app:{PASSWORD}@ep-x.neon.example/app"


@pytest.fixture(autouse=True)
def one_attempt_and_no_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("PGHOST", "PGHOSTADDR", "PGSSLMODE", "PGSERVICE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with stamina.set_testing(True, attempts=1):
        yield


def database(url: str) -> Settings:
    return load_settings(None, database_url=url)


@pytest.mark.parametrize("field", ["database_url", "database_url_unpooled"])
@pytest.mark.parametrize(
    "url",
    [
        f"{FAR}?sslmode=disable",
        f"{FAR}?sslmode=allow",
        f"{FAR}?sslmode=prefer",
        f"{FAR}?sslmode=%70refer",
        f"{FAR}?sslmode=require&sslmode=disable",
        f"{FAR}?sslmode=none",
        f"postgresql://app:{PASSWORD}@localhost,ep-x.neon.example/app?sslmode=prefer",
        f"postgresql://app:{PASSWORD}@127.0.0.1:5432,ep-x.neon.example:5433/app?sslmode=allow",
        f"postgresql://app:{PASSWORD}@localhost/app?host=ep-x.neon.example&sslmode=disable",
        f"postgresql://app:{PASSWORD}@localhost/app?hostaddr=192.0.2.1&sslmode=disable",
        "postgresql:///app?host=/run/postgresql,ep-x.neon.example&sslmode=disable",
        "postgresql:///app?service=far&sslmode=disable",
        f"postgresql://app:{PASSWORD}@localhost.evil.example/app?sslmode=disable",
        f"postgresql://app:{PASSWORD}@127.0.0.1.evil.example/app?sslmode=disable",
        f"postgresql://app:{PASSWORD}@0.0.0.0/app?sslmode=disable",
    ],
)
def test_a_database_over_a_network_without_tls_is_refused_by_name(url: str, field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, **{field: url})
    assert field.upper() in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("mode", ["disable", "allow"])
def test_the_environment_can_not_ask_for_plain_text_either(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", mode)
    with pytest.raises(SettingsError, match=r"DATABASE_URL.*PGSSLMODE"):
        database(FAR)
    assert database(f"{FAR}?sslmode=require").database_url is not None
    assert database("postgresql://app@localhost/app").database_url is not None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@localhost/app?sslmode=disable",
        "postgresql://app@127.0.0.1,[::1]/app?sslmode=prefer",
        "postgresql:///app?host=/run/postgresql&sslmode=disable",
        FAR,
        f"{FAR}?sslmode=require",
        f"{FAR}?sslmode=verify-full&sslrootcert=system&channel_binding=require",
    ],
)
def test_what_stays_here_or_is_protected_is_accepted(url: str) -> None:
    assert database(url).batch_database_url == url


def no_tls(peer: socket.socket, visits: Visits) -> None:
    """A Postgres without TLS, as far as it goes."""
    visits.said.append(peer.recv(8))
    peer.sendall(b"N")
    visits.said.append(peer.recv(65_536))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:{password}@ep-x.neon.example/app?hostaddr=127.0.0.1&port={port}",
        "postgresql://app:{password}@localhost:{port}/app?service=far",
        "postgresql://app:{password}@/app?host=/nowhere,127.0.0.1,far.example&port=1,{port},1",
    ],
)
def test_where_no_mode_is_named_the_database_gets_nothing_before_tls(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services").write_text("[far]\nhostaddr=127.0.0.1\nsslmode=disable\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with listener(no_tls) as visits:
        with pytest.raises(StoreUnreachableError):
            connect(url.format(password=PASSWORD, port=visits.port), attempts=1)
        assert visits.said[0] == SSL_REQUEST
        assert visits.everything == SSL_REQUEST


def test_an_address_from_the_environment_is_a_network_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    with pytest.raises(SettingsError, match="unprotected"):
        database("postgresql://app@localhost/app?sslmode=disable")


def postgres_tls(pem: Path) -> Talk:
    secured = with_tls(pem, remember)

    def talk(peer: socket.socket, visits: Visits) -> None:
        peer.recv(8)
        peer.sendall(b"S")
        secured(peer, visits)

    return talk


def test_a_database_whose_certificate_nobody_vouches_for_gets_no_password(tmp_path: Path) -> None:
    trusted = self_signed(tmp_path, "trusted")
    with listener(postgres_tls(self_signed(tmp_path))) as visits:
        url = (
            f"postgresql://app:{PASSWORD}@localhost:{visits.port}/app?sslmode=verify-full"
            f"&sslrootcert={trusted}"
        )
        with pytest.raises(StoreUnreachableError, match="certificate") as caught:
            connect(url, attempts=1)
        assert visits.everything == b""
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (name, url)
        for name in ("IC_URL", "VERCEL_BLOB_API_URL", "EDGEKEEPER_HEARTBEAT_URL")
        for url in (
            "http://example.org/a",
            "HTTP://example.org/a",
            " http://example.org/a",
            "http://127.0.0.1.example.org/a",
            "http://localhost\\.example.org/a",
            "http://127.0.0.1\\@example.org/a",
            "http://local\nhost.example.org/a",
            "http://0.0.0.0/a",
            "http://2130706433/a",
            "http://[::ffff:127.0.0.1]/a",
            "ftp://localhost/a",
            " https://example.org/a",
            "https://localhost\\.example.org/a",
            "https://exam\nple.org/a",
        )
    ],
)
def test_a_store_over_a_network_without_tls_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable) as caught:
        load_settings(None, **{variable: value})
    assert "example.org" not in str(caught.value)


def test_a_root_key_is_fetched_from_this_machine_only() -> None:
    with pytest.raises(SettingsError, match="IC_ROOT_KEY"):
        load_settings(None, ic_root_key="fetch")
    with pytest.raises(SettingsError, match="IC_ROOT_KEY"):
        load_settings(None, ic_root_key="fetch", ic_url="https://localhost.example.org")
    assert load_settings(None, ic_root_key="fetch", ic_url="http://127.0.0.1:1").ic_root_key


def test_no_client_talks_to_a_server_that_vouches_for_itself(tmp_path: Path) -> None:
    with listener(with_tls(self_signed(tmp_path), http_ok)) as visits:
        origin = f"https://localhost:{visits.port}"
        settings = load_settings(None, blob_token=TOKEN, blob_api_url=f"{origin}/api/blob")

        async def ask() -> None:
            store = BlobStore(settings)
            with pytest.raises(StoreUnreachableError, match=r"(?i)certificate"):
                await store.identity()
            await store.aclose()
            transport = Transport(origin, in_flight=1)
            with pytest.raises(StoreUnreachableError, match=r"(?i)certificate"):
                await transport.post("/api/v3/canister/x/query", b"")
            await transport.aclose()
            told = await heartbeat._told(SecretStr(f"{origin}/ping/key"))
            assert told is not None
            assert "ConnectError" in told

        asyncio.run(ask())
        assert visits.said == []
        assert len(visits.refused) == 3


def test_no_source_switches_verification_off() -> None:
    root = Path(__file__).parents[2]
    for package in ("checks", "tasks", "flows", "edgekeeper"):
        for path in (root / package).rglob("*.py"):
            text = path.read_text("utf-8")
            for spelling in ("verify=False", "CERT_NONE", "check_hostname", "_create_unverified"):
                assert spelling not in text, path
