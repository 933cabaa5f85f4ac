"""A Prefect server over its API, as a test looks at what commands have made there."""

import socket
import time
from collections.abc import Mapping
from typing import Any

import httpx
import stamina
from shell import SECONDS

OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
ANSWER_SECONDS = 60  # a machine with more to do than it can is no failure


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ask_again(error: Exception) -> bool:
    """Whether the server wants to be asked again, as Prefect's own clients do.

    It answers 503 while another request holds the lock of its SQLite database, and has then done
    nothing (``prefect.server.api.server.is_client_retryable_exception``).
    """
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 503


class PrefectServer:
    """The server whose API has this address, whether it answers yet or not."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def get(self, path: str) -> Any:
        return self._answer("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        return self._answer("POST", path, json=body)

    @stamina.retry(on=_ask_again, attempts=20, timeout=SECONDS)
    def _answer(self, method: str, path: str, **request: Any) -> Any:
        answer = httpx.request(method, f"{self.url}/{path}", timeout=ANSWER_SECONDS, **request)
        return answer.raise_for_status().json()

    def has_worker(self, pool: str) -> bool:
        workers = self.post(f"work_pools/{pool}/workers/filter")
        return any(each["status"] == "ONLINE" for each in workers)

    def deployments(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.post("deployments/filter")}

    def begin_night(self, **parameters: Any) -> str:
        """The id of a run of the nightly deployment, which a worker is to do.

        Waits until the one before has given up its place: only one at a time is let in.
        """
        while (nightly := self.deployments()["nightly"])["global_concurrency_limit"][
            "active_slots"
        ]:
            time.sleep(0.3)
        path = f"deployments/{nightly['id']}/create_flow_run"
        made = self.post(path, parameters=parameters)
        return str(made["id"])

    def ended(self, run_id: str) -> dict[str, Any]:
        """A flow run, as soon as its state is one that lasts."""
        deadline = time.monotonic() + SECONDS
        while True:
            run: dict[str, Any] = self.get(f"flow_runs/{run_id}")
            if run["state_type"] in OVER:
                return run
            assert time.monotonic() < deadline, run["state"]
            time.sleep(0.3)

    def artifacts(self, run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What a run has left to be read, by its key without the flow's name."""
        found = self.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}})
        return {each["key"].removeprefix("nightly-audit-"): each for each in found}
