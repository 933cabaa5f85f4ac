"""Waiting for no longer than one wants for somebody who may never answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, do: Callable[[], T]) -> T:
    """What ``do`` gives; raises what it raises.

    Raises TimeoutError where that takes longer than so many seconds: ``do`` then goes on in a
    thread that keeps no process from ending, and what comes of it is lost.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(do())
        except BaseException as error:  # noqa: BLE001 - for who waits
            outcome.set_exception(error)

    threading.Thread(target=work, name="within a time limit", daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError as error:
        if outcome.done():
            raise
        raise TimeoutError(f"there was no answer within {seconds:g} seconds") from error
