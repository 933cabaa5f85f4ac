"""Whether a canister is one that edgekeeper can talk to, judged by the interface it publishes."""

import re
from collections.abc import Sequence

from checks.errors import SettingsError
from tasks.stores.icp.canister import NEEDED, Method

#: None of these looks at a character more than a few hundred times, whatever the text.
_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_SERVICE = re.compile(r"\bservice\s*(?:\w+\s*)?:\s*(?:\([^{]{0,300}\)\s*->\s*)?\{")
_METHOD = re.compile(r'\s*"?(?P<name>\w+)"?\s*:\s*(?P<type>.*)', re.DOTALL)
_OLDER_ANSWER = re.compile(r"\bsuccess\s*:\s*bool")
_ONE_TEXT = re.compile(r"\(\s*(?:\w+\s*:\s*)?text\s*\)\s*->")
_MAX_INTERFACE = 1024 * 1024


def check_interface(interface: str | None, needed: Sequence[Method] = NEEDED) -> None:
    """Raises SettingsError where an interface lacks a method that is called: an audit's by default.

    None, a canister that publishes no interface, is let pass: each answer is held against its type
    when it comes.
    """
    if interface is None:
        return
    methods = service_methods(interface)
    listing = methods.get("memories_list", "")
    if _ONE_TEXT.match(listing):
        older = " with {memories, message, success}, without pages" * bool(
            _OLDER_ANSWER.search(interface)
        )
        raise SettingsError(
            "CANISTER_ID_BACKEND names a canister of the older deployment, whose "
            f"memories_list(text) answers{older or ' otherwise'}; it can't be audited. "
            "Upgrade the canister, or name the one in use"
        )
    lacking = [method.name for method in needed if method.name not in methods]
    if lacking:
        raise SettingsError(
            f"CANISTER_ID_BACKEND names a canister that lacks {', '.join(lacking)}; "
            "upgrade it, or name the one that holds the memories"
        )


def service_methods(interface: str) -> dict[str, str]:
    """The methods of an interface's service, each with the text of its type."""
    text = _COMMENT.sub(" ", interface[:_MAX_INTERFACE])
    start = _SERVICE.search(text)
    if start is None:
        return {}
    methods = {}
    for part in _top_level_parts(text[start.end() :]):
        match = _METHOD.fullmatch(part)
        if match:
            methods[match["name"]] = match["type"].strip()
    return methods


def _top_level_parts(body: str) -> list[str]:
    """What stands between semicolons of the service itself, up to its closing brace."""
    parts: list[str] = []
    depth = start = 0
    for position, sign in enumerate(body):
        if sign in "{(":
            depth += 1
        elif sign in "})":
            depth -= 1
            if depth < 0:
                return [*parts, body[start:position]]
        elif sign == ";" and depth == 0:
            parts.append(body[start:position])
            start = position + 1
    return [*parts, body[start:]]
