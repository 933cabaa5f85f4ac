"""``python -m sandbox.icp``: serve the stand-in until told to stop."""

import argparse
from pathlib import Path

import uvicorn

from sandbox.faults import FaultMiddleware, Faults
from sandbox.icp.canister import Canister
from sandbox.icp.keys import load_or_make
from sandbox.icp.replica import Replica
from sandbox.icp.server import Application
from sandbox.icp.storage import CanisterStorage


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="sandbox.icp", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where keys and data are kept")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--own-ids",
        action="store_true",
        help="memories get ids of the canister's own, not the UUID they were created with",
    )
    options = parser.parse_args()
    storage = CanisterStorage(options.dir)
    try:
        canister = Canister(storage, own_ids=options.own_ids)
        replica = Replica(load_or_make(options.dir), canister)
        faults = Faults()
        uvicorn.run(
            FaultMiddleware(Application(replica, faults), faults),
            host=options.host,
            port=options.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=2,
        )
    finally:
        storage.close()


if __name__ == "__main__":
    main()
