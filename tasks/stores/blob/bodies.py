"""Objects' bytes, fetched and hashed on threads: one for each object under way.

Waiting for a socket and hashing both let other threads run, so that as many cores are busy as there
are. Through an event loop, in pieces of 64 kB, a large object took three times the processor time
of its hashing; read straight from the socket it takes little more than that.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx
import urllib3

from tasks import usage
from tasks.lanes import tls_context
from tasks.stores.protocol import Sink

#: Fits into a core's cache, where it is hashed twice.
_PIECE_BYTES = 256 * 1024
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 30.0
#: Of an answer that is no object, what is worth reading.
_REFUSAL_BYTES = 1024 * 1024


class Digest(NamedTuple):
    """Of all bytes of a body: their number, SHA-256 and MD5 in hex."""

    size: int
    sha256: str
    md5: str


class Pace(NamedTuple):
    """How long a body may take: so many seconds, and more as bytes come.

    Attributes:
        patience: seconds allowed beside those for the bytes.
        lowest_speed: bytes a second that must come on the whole.
    """

    patience: float
    lowest_speed: float


#: Raises what an answer means that is not the object wanted (its status and headers, and of another
#: status than 200 the body), else gives how many bytes there are to be.
Judge = Callable[[httpx.Response, bytes], int]


class Bodies:
    """Threads that fetch and hash, and their connections; any number of event loops may use it."""

    def __init__(self, number: int, *, trust_env: bool) -> None:
        """Opens nothing yet.

        Args:
            number: of threads.
            trust_env: whether the environment's proxies and certificates count.
        """
        self._threads = ThreadPoolExecutor(number, thread_name_prefix="reading")
        self._number = number
        self._trust_env = trust_env
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    async def hashed(
        self,
        url: httpx.URL,
        headers: Mapping[str, str],
        judge: Judge,
        pace: Pace,
        into: Sink | None = None,
    ) -> Digest:
        """Gets a URL and hashes what comes, on a thread; it is written to ``into`` besides.

        Reads one byte more than ``judge`` gives at most. What was begun for a task that is
        cancelled ends by itself, within ``_SILENCE_SECONDS``.

        Raises:
            TimeoutError: the bytes came too slowly.
            urllib3.exceptions.HTTPError: the connection failed or ended early.
        """
        given_up = threading.Event()
        work = _Download(self._pool(url), url, headers, judge, pace, into, given_up, self._stopped)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work.run)
        except asyncio.CancelledError:
            given_up.set()
            raise
        finally:
            usage.count(usage.BLOB_BYTES, work.size)

    def _pool(self, url: httpx.URL) -> urllib3.HTTPConnectionPool:
        """The connections to a URL's host, through the environment's proxy where it names one."""
        proxy = None
        if self._trust_env and not proxy_bypass(url.host):
            proxy = getproxies().get(url.scheme)
        with self._lock:
            manager = self._managers.get(proxy)
            if manager is None:
                context = tls_context(trust_env=self._trust_env)
                manager = (
                    urllib3.ProxyManager(proxy, maxsize=self._number, ssl_context=context) if proxy
                    else urllib3.PoolManager(maxsize=self._number, ssl_context=context)
                )  # fmt: skip
                self._managers[proxy] = manager
        return manager.connection_from_host(url.host, url.port, url.scheme)

    async def aclose(self) -> None:
        """Closes the connections; what is under way ends by itself."""
        self._stopped.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for manager in self._managers.values():
            manager.clear()


@dataclass(slots=True)
class _Download:
    """One object on its way, in its thread."""

    pool: urllib3.HTTPConnectionPool
    url: httpx.URL
    headers: Mapping[str, str]
    judge: Judge
    pace: Pace
    into: Sink | None
    given_up: threading.Event
    stopped: threading.Event
    size: int = 0
    began: float = field(default_factory=time.monotonic)

    def run(self) -> Digest:
        """Fetches and hashes; whatever comes of it, the connection is free or closed afterwards."""
        self.began = time.monotonic()
        silence = min(_SILENCE_SECONDS, self.pace.patience)
        try:
            response = self.pool.urlopen(
                "GET", self.url.raw_path.decode("ascii"), headers=dict(self.headers),
                redirect=False, retries=False, preload_content=False, decode_content=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(connect=min(_CONNECT_SECONDS, silence), read=silence),
            )  # fmt: skip
            return self._closed(response)
        except urllib3.exceptions.ReadTimeoutError:
            self._keep_up()
            raise

    def _closed(self, response: urllib3.BaseHTTPResponse) -> Digest:
        """Hashes the body; a connection on which more may come is closed."""
        try:
            return self._hashed(response)
        finally:
            if not response.closed:
                response.close()
            response.release_conn()

    def _hashed(self, response: urllib3.BaseHTTPResponse) -> Digest:
        head = httpx.Response(
            response.status, headers=list(response.headers.items()), stream=httpx.ByteStream(b"")
        )
        refused = b""
        if response.status != httpx.codes.OK:
            refused = b"".join(self._pieces(response, _REFUSAL_BYTES))
        most = self.judge(head, refused)
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        for piece in self._pieces(response, most):
            sha256.update(piece)
            md5.update(piece)
            if self.into is not None:
                self.into.write(piece)
        return Digest(self.size, sha256.hexdigest(), md5.hexdigest())

    def _pieces(self, response: urllib3.BaseHTTPResponse, most: int) -> Iterator[bytes]:
        """What comes, as it comes; no more of it once there are more than ``most`` bytes."""
        while self.size <= most and (piece := response.read1(_PIECE_BYTES)):
            self.size += len(piece)
            yield piece
            self._keep_up()

    def _keep_up(self) -> None:
        """Raises TimeoutError where the bytes have fallen behind, or nobody wants them any more."""
        if self.given_up.is_set() or self.stopped.is_set():
            raise TimeoutError("nobody waits for it any more")
        behind = time.monotonic() - self.began - self.pace.patience
        if behind >= self.size / self.pace.lowest_speed:
            raise TimeoutError("its bytes came too slowly")
