"""The two ways of saying no: an ``Err`` of the canister's own, and a reject of the network's."""

from typing import Final

CANISTER_ERROR: Final = 5


class Refusal(Exception):  # noqa: N818 - an answer of the interface, not a fault of the program
    """The method's result is ``Err`` with this alternative."""

    def __init__(self, kind: str, detail: str | None = None) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


class Reject(Exception):  # noqa: N818 - likewise
    """The call is rejected: there is no reply."""

    def __init__(self, error_code: str, message: str, code: int = CANISTER_ERROR) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message
        self.code = code
