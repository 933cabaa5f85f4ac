"""What a process does with memory that it has freed is settled before it uses any."""

import os
import subprocess
import sys

import pytest

POOL = "ARROW_DEFAULT_MEMORY_POOL"


@pytest.mark.parametrize("module", ["edgekeeper.cli", "flows.nightly_audit", "flows.engine"])
@pytest.mark.parametrize(("asked", "backend"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_arrow_takes_its_memory_from_the_c_library_unless_told_otherwise(
    module: str, asked: str | None, backend: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != POOL}
    environment |= {POOL: asked} if asked else {}
    said = subprocess.run(
        [sys.executable, "-c",
         f"import {module}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split() == [backend]


def test_hardly_any_arena_is_made_however_many_threads_there_are() -> None:
    """The C library's own account of them: without the limit each thread has one of its own."""
    program = """
import flows, ctypes, threading
gate = threading.Barrier(17)
kept = []
def work():
    kept.append([bytearray(1000) for _ in range(1000)])
    gate.wait()
for _ in range(16):
    threading.Thread(target=work).start()
gate.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    if "<heap nr=" not in said:
        pytest.skip("this C library does not tell of its arenas")
    assert said.count("<heap nr=") <= 2
