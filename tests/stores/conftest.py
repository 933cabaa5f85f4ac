"""What tests of stores share: both stand-ins, one for each module, and retries without waits."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import stamina
from blob_process import BlobProcess
from icp_process import IcpProcess

from tasks.stores.blob import BlobStore


@pytest.fixture(scope="module")
def running_blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobProcess]:
    process = BlobProcess(tmp_path_factory.mktemp("blob"))
    yield process
    process.close()


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Retries without the waits between them, three attempts at most."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def blobs(running_blobs: BlobProcess) -> BlobProcess:
    running_blobs.reset()
    return running_blobs


@pytest_asyncio.fixture
async def store(blobs: BlobProcess) -> AsyncIterator[BlobStore]:
    async with blobs.store() as store:
        yield store


@pytest.fixture(scope="module")
def running_icp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcpProcess]:
    process = IcpProcess(tmp_path_factory.mktemp("icp"))
    yield process
    process.close()


@pytest.fixture
def icp(running_icp: IcpProcess) -> IcpProcess:
    running_icp.clear()
    return running_icp
