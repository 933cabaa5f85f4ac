"""What a fault rule says, and what of it makes sense: the contract of ``POST /__faults``."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TRANSPORT_ACTIONS = frozenset(
    {"status", "delay", "truncate", "reset", "flip_bit", "trickle", "endless_body"}
)
#: In the content of a listing, of either store.
CONTENT_ACTIONS = frozenset(
    {"duplicate_page", "drop_item", "repeat_cursor", "stale_list", "fresh_cursor"}
)
#: In what the canister says, before that is signed: a signature proves no more than who said it.
WRONG_COUNT, ANSWER = frozenset({"wrong_count"}), frozenset({"answer"})
#: The canister's errors that say no more than their name.
ERRORS = ("NotFound", "Unauthorized", "ResourceExhausted")
MAX_TIME = 1e9


@dataclass
class Rule:
    """One fault: for which requests (None: any), what, how many times more (None: for ever)."""

    method: str | None
    path_regex: str | None
    canister_method: str | None
    action: str
    times: int | None
    value: Any

    def matches(self, method: str, path: str, canister_method: str | None) -> bool:
        """Whether the rule is about this request; ``path`` is the path with its query."""
        return (
            (self.method is None or self.method == method.upper())
            and (self.canister_method is None or self.canister_method == canister_method)
            and (self.path_regex is None or re.search(self.path_regex, path) is not None)
        )


def parse_rules(payload: Any) -> list[Rule]:
    """The rules of a ``POST /__faults`` body.

    Raises ValueError that names the place and what it takes.
    """
    _only_keys(payload, {"rules"}, "the body")
    rules = payload.get("rules")
    if not isinstance(rules, list):
        raise ValueError('the body needs "rules", a list')  # noqa: TRY004
    return [_parse_rule(rule, f"rules[{i}]") for i, rule in enumerate(rules)]


def _parse_rule(payload: Any, where: str) -> Rule:
    _only_keys(payload, {"match", "action", "times", "value"}, where)
    match = payload.get("match")
    match = {} if match is None else match
    _only_keys(match, {"method", "path_regex", "canister_method"}, f"{where}.match")
    for key, text in match.items():
        if text is not None and not isinstance(text, str):
            raise ValueError(f"{where}.match.{key} is {text!r}; it is a text or null")
    method, path_regex = match.get("method"), match.get("path_regex")
    if path_regex is not None:
        try:
            re.compile(path_regex)
        except re.error as problem:
            raise ValueError(f"{where}.match.path_regex {path_regex!r}: {problem}") from None
    times = payload.get("times")
    if times is not None and not _is_integer(times, 1):
        raise ValueError(f"{where}.times is {times!r}; it is a number from 1 on, or left out")
    return Rule(
        method=method.upper() if method else None,
        path_regex=path_regex,
        canister_method=match.get("canister_method"),
        action=_parse_action(payload.get("action"), payload.get("value"), where),
        times=times,
        value=payload.get("value"),
    )


def _parse_action(action: Any, value: Any, where: str) -> str:
    """The action, after a look at whether its value fits it."""
    if not isinstance(action, str) or action not in _VALUES:
        raise ValueError(f"{where}.action is {action!r}; it is one of {', '.join(_VALUES)}")
    fits, wanted = _VALUES[action]
    if not fits(value):
        raise ValueError(f"{where}.value is {value!r}; {action} takes {wanted}")
    return action


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MAX_TIME


def _is_status(value: Any) -> bool:
    if isinstance(value, dict):
        headers = value.get("headers") or {}
        return (
            value.keys() <= {"status", "body", "headers"}
            and _is_status(value.get("status"))
            and isinstance(headers, dict)
            and all(_is_header(name, text) for name, text in headers.items())
        )
    return _is_integer(value, 200) and value <= 599  # noqa: PLR2004


def _is_answer(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    name, text = next(iter(value.items()))
    if name == "hex":
        return isinstance(text, str) and re.fullmatch("(?:[0-9a-f]{2})*", text) is not None
    return name == "err" and text in ERRORS


def _is_header(name: str, value: Any) -> bool:
    return (
        re.fullmatch(r"[A-Za-z0-9-]+", name) is not None
        and name.lower() not in {"content-length", "transfer-encoding"}
        and isinstance(value, str)
        and re.fullmatch(r"[\t -~]*", value) is not None
    )


def _only_keys(value: Any, known: set[str], where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}; it is a JSON object")  # noqa: TRY004
    if unknown := sorted(value.keys() - known):
        raise ValueError(f"{where} has {unknown[0]!r}; it takes {', '.join(sorted(known))}")


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "status": (_is_status, 'a status from 200 to 599, or {"status", "body", "headers"}'),
    "delay": (_is_positive, "milliseconds"),
    "truncate": (
        lambda v: _is_integer(v, 0),
        "the number of bytes sent before the connection ends",
    ),
    "reset": (
        lambda v: v is None or _is_integer(v, 0),
        "the number of bytes sent before the reset, or nothing for a reset without an answer",
    ),
    "flip_bit": (lambda v: _is_integer(v, 0), "the offset of a bit in the body"),
    "duplicate_page": (
        lambda v: v is None or _is_integer(v, 0),
        "the index of the item that comes twice, or nothing for the whole page",
    ),
    "drop_item": (lambda v: _is_integer(v, 0), "the index of the item that is left out"),
    "repeat_cursor": (lambda v: v is None, "no value"),
    "stale_list": (_is_positive, "how many seconds old the listing is"),
    "trickle": (_is_positive, "milliseconds between two bytes of the body"),
    "endless_body": (
        lambda v: v is None or _is_integer(v, 1),
        "the number of bytes that follow the true ones, or nothing for no end",
    ),
    "fresh_cursor": (
        lambda v: v is None or _is_integer(v, 1),
        "the number of objects that each page invents, or nothing for none",
    ),
    "wrong_count": (
        lambda v: isinstance(v, int) and not isinstance(v, bool),
        "a number added to each capsule's count of memories",
    ),
    "answer": (
        _is_answer,
        f'{{"err": one of {", ".join(ERRORS)}}}, or {{"hex": a reply in Candid, or what is none}}',
    ),
}
