"""Every error edgekeeper raises on purpose, in one tree.

A message says what happened, to what, and what to do. ``exit_code`` is what the command line ends
with where the error reaches it.
"""

from typing import ClassVar

#: Longest text of an error, in characters: it may repeat what a stranger's server said.
MAX_TEXT = 600
_TAIL = 200


class EdgekeeperError(Exception):
    """Something went wrong that edgekeeper knows how to explain."""

    exit_code: ClassVar[int] = 5


class UsageError(EdgekeeperError):
    """The request can't be carried out as it was given; nothing was done."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is missing or malformed."""


class SchemaError(UsageError):
    """The database lacks something edgekeeper needs, or has it in a shape it can't work with."""


class StoreIdentityError(UsageError):
    """A store is not the one that earlier runs saw."""


class QuotaError(UsageError):
    """The run would use more than what is left of the month's quota."""


class NotFoundError(UsageError):
    """There is no gallery or memory of this id."""


class IllegalTransitionError(UsageError):
    """An edge may not change its sync state in this way."""


class LeaseError(EdgekeeperError):
    """Another run holds the lease."""

    exit_code = 4


class LeaseLostError(EdgekeeperError):
    """This run was overtaken by another one and may not write any more."""


class StoreError(EdgekeeperError):
    """A store could not be asked, or its answer could not be used: what it holds is unknown.

    The message is kept in reports, tables and logs, one for each object that could not be read, so
    that it is never longer than ``MAX_TEXT``.
    """

    exit_code = 3

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


def shortened(text: str) -> str:
    """``text`` with its middle left out where it is longer than ``MAX_TEXT``.

    What happened stands at the beginning of a message, and what to do at its end.
    """
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[: MAX_TEXT - _TAIL - 3]} … {text[-_TAIL:]}"


class StoreUnreachableError(StoreError):
    """The store did not answer at all within the time allowed."""


class AccessRefusedError(StoreError):
    """The store refused access: that says nothing about what it holds."""


class MalformedAnswerError(StoreError):
    """The store answered with something that is not what its protocol promises."""


class UntrustedAnswerError(StoreError):
    """A signature or certificate over an answer does not hold."""


class NotTheStoresUrlError(StoreError):
    """A URL or redirect leads away from the configured store; it was not followed."""


class ObjectChangedError(StoreError):
    """The object changed while it was read, or is not the version that was asked for."""


class HomeStorageError(EdgekeeperError):
    """The storage that the run is kept on did not do what was asked: the run can be resumed.

    It says nothing about any store of memories, so it is no StoreError: a run that is cut off from
    what it has seen itself concludes nothing.
    """

    exit_code = 3


class InterruptedRunError(EdgekeeperError):
    """The run was interrupted; it can be resumed."""

    exit_code = 130
