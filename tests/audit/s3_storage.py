"""A storage that speaks S3 over HTTP: moto's server, in a thread of the test's process."""

from typing import Any

import fsspec
import httpx
import pytest

_REGION = "us-east-1"
BUCKET = "edgekeeper"
#: Not to be found in anything that a run writes.
SECRET = "a-secret-of-the-storage-that-nobody-may-see"


class Storage:
    """It can be away for a while; what it holds is kept."""

    def __init__(self) -> None:
        module = pytest.importorskip("moto.server", reason="moto and Flask are not installed")
        pytest.importorskip("s3fs", reason="edgekeeper[s3] is not installed")
        self._make: Any = module.ThreadedMotoServer
        self._server = self._make(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, self._port = self._server.get_host_and_port()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{self._port}", "AWS_DEFAULT_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": "edgekeeper", "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_MAX_ATTEMPTS": "1",
        }  # fmt: skip
        httpx.post(f"http://{host}:{self._port}/moto-api/reset").raise_for_status()

    @property
    def files(self) -> Any:
        """The storage as fsspec shows it, with nothing remembered."""
        system = fsspec.filesystem("s3")
        system.invalidate_cache()
        return system

    def make_bucket(self) -> None:
        url = f"{self.environment['AWS_ENDPOINT_URL']}/{BUCKET}"
        httpx.put(url, headers={"authorization": ""}).raise_for_status()

    def go_away(self) -> None:
        self._server.stop()

    def come_back(self) -> None:
        self._server = self._make(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
