"""``python -m sandbox.blob``: serve one directory of objects until stopped."""

import argparse
import gc
from pathlib import Path

import uvicorn

from sandbox.blob.server import create_app
from sandbox.blob.storage import BlobStorage

KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 2


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.blob", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where the objects are kept")
    parser.add_argument("--port", type=int, required=True)
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument("--token", help="vercel_blob_rw_<storeId>_<secret>")
    token.add_argument("--token-file", type=Path, help="a file that holds it, unseen by others")
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    storage = BlobStorage(arguments.dir)
    try:
        file = arguments.token_file
        app = create_app(storage, file.read_text("ascii") if file else arguments.token)
    except (OSError, ValueError) as problem:
        parser.error(f"--token: {problem}")
    # A page of a listing is thousands of short-lived objects, none of them in a cycle.
    gc.freeze()
    gc.set_threshold(100_000)
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
