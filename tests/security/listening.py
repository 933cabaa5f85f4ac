"""Loopback servers that remember who came and what was said."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Talk = Callable[[socket.socket, "Visits"], None]


@dataclass
class Visits:
    """What a listener saw: a text of bytes for each connection that was made to it."""

    port: int
    said: list[bytes] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def everything(self) -> bytes:
        return b"".join(self.said)


@contextmanager
def listener(talk: Talk) -> Iterator[Visits]:
    """A server on a free port of 127.0.0.1; ``talk`` serves each connection in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        visits = Visits(server.getsockname()[1])

        def serve(peer: socket.socket) -> None:
            with contextlib.suppress(OSError), peer:
                peer.settimeout(10)
                talk(peer, visits)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield visits


def self_signed(directory: Path, name: str = "127.0.0.1") -> Path:
    """A key and a certificate that nobody vouches for, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return path


def with_tls(pem: Path, talk: Talk) -> Talk:
    """``talk`` inside TLS; a handshake that the client breaks off is remembered as refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def secured(peer: socket.socket, visits: Visits) -> None:
        try:
            with context.wrap_socket(peer, server_side=True) as inner:
                talk(inner, visits)
        except ssl.SSLError as error:
            visits.refused.append(str(error))

    return secured


def remember(peer: socket.socket, visits: Visits) -> None:
    """Writes down what comes first, and hangs up."""
    visits.said.append(peer.recv(65_536))


def http_ok(peer: socket.socket, visits: Visits) -> None:
    """Writes down a request's beginning and answers that all is well."""
    remember(peer, visits)
    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
