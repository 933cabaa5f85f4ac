"""Logging, set up once: events with fields, as JSON lines in a file and as plain lines on stderr.

An event has a constant name and carries what it is about in fields. Whatever leaves here has its
secrets masked and its control characters made visible: a file name from a store can neither drive a
terminal nor forge a second line.
"""

import json
import os
import re
import sys
import threading
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import SecretStr

from tasks.settings import Settings

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
MASK = "***"
_SHORTEST_SECRET = 6  # masking a shorter text would blank out innocent words
#: Each takes time in proportion to the text, whatever the text: strangers write it.
_WORD = re.compile(r"\S+")
_USER = re.compile(r"://[^/:@]*:")
_PATTERNS = (
    (re.compile(r"(?P<kept>bearer\s+)[^\s\"',;]+", re.IGNORECASE), r"\g<kept>***"),
    (re.compile(r"(?P<kept>vercel_blob_rw_[A-Za-z0-9]+_)[A-Za-z0-9_-]+"), r"\g<kept>***"),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
        MASK,
    ),
)
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Event = MutableMapping[str, Any]


@dataclass(slots=True)
class _Sinks:
    """Where events go; changed by ``configure`` and ``open_run_log`` alone."""

    level: int = LEVELS["warning"]
    stream: TextIO | None = None
    file: TextIO | None = None
    path: Path | None = None
    secrets: tuple[str, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)


_sinks = _Sinks()


def configure(*, level: str = "warning", stream: TextIO | None = None) -> None:
    """Sets up structlog: events of at least ``level`` go to ``stream`` (stderr) as plain lines."""
    _sinks.level = LEVELS[level]
    _sinks.stream = stream
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _calmed,
            masked,
            _write,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),
        cache_logger_on_first_use=False,
    )


def protect(settings: Settings) -> None:
    """Masks every secret among ``settings``, and its parts, in all that is logged from now on."""
    _sinks.secrets = tuple(sorted({*_sinks.secrets, *secrets_of(settings)}, key=len, reverse=True))


def open_run_log(path: Path, run_id: str) -> None:
    """Sends every further event to ``path`` as a JSON line, and binds the run's id to it."""
    structlog.contextvars.bind_contextvars(run_id=run_id)
    open_log(path)


def close_log() -> None:
    """Ends what ``open_run_log`` began."""
    structlog.contextvars.unbind_contextvars("run_id")
    with _sinks.lock:
        if _sinks.file is not None:
            _sinks.file.close()
        _sinks.file = None


def open_log(path: Path) -> None:
    """Sends every further event to ``path`` as a JSON line; only the owner may read the file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with _sinks.lock:
        if _sinks.file is not None:
            _sinks.file.close()
        _sinks.file = os.fdopen(descriptor, "a", encoding="utf-8", buffering=1)
        _sinks.path = path


def current_log() -> Path | None:
    """The file that events are written to, if there is one."""
    return _sinks.path


def secrets_of(settings: Settings) -> Iterable[str]:
    """Every secret value, and of each URL its password, as they stand and decoded."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, SecretStr):
                yield from _forms(each.get_secret_value())


def _forms(secret: str) -> Iterable[str]:
    """The forms in which a secret may turn up."""
    found = {secret, secret.strip()}
    try:
        password = urlsplit(secret).password
    except ValueError:
        password = None
    if password:
        found |= {password, unquote(password)}
    return (form for form in found if len(form) >= _SHORTEST_SECRET)


def mask(text: str) -> str:
    """``text`` without any configured secret, and without whatever looks like one."""
    for secret in _sinks.secrets:
        text = text.replace(secret, MASK)
    if "://" in text and "@" in text:
        text = _WORD.sub(_without_password, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _without_password(word: re.Match[str]) -> str:
    """A word in which a URL names a user and a password; these may hold any sign, an @ too."""
    last = word[0].rfind("@")
    user = _USER.search(word[0], 0, max(last, 0))
    return word[0] if user is None else f"{word[0][: user.end()]}{MASK}{word[0][last:]}"


def visible(text: str) -> str:
    """``text`` with control characters and changes of direction written as escapes."""
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _calmed(_logger: Any, _method: str, event: Event) -> Event:
    """A structlog processor: that a call is tried again is for the file, not for a person."""
    if event.get("event") != "stamina.retry_scheduled":
        return event
    empty = ("callable", "args", "kwargs")
    kept = {name: value for name, value in event.items() if name not in empty}
    return kept | {"event": "retry_scheduled", "level": "info"}


def masked(_logger: Any, _method: str, event: Event) -> Event:
    """A structlog processor: masks every text in the event, however deep."""
    return {mask(str(name)): without_secrets(value) for name, value in event.items()}


def without_secrets(value: Any) -> Any:
    """What JSON can hold, with every text in it masked, however deep."""
    match value:
        case str():
            return mask(value)
        case None | bool() | int() | float():
            return value
        case dict():
            return {mask(str(key)): without_secrets(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [without_secrets(each) for each in value]
    return mask(str(value))


def _write(_logger: Any, _method: str, event: Event) -> str:
    """The last processor: writes the event to the sinks and drops it."""
    level = LEVELS.get(str(event.get("level")), LEVELS["info"])
    shown = event.pop("shown", False)  # a person was told in other words: for the file alone
    with _sinks.lock:
        if _sinks.file is not None:
            _sinks.file.write(json.dumps(event, ensure_ascii=True) + "\n")
        if level >= _sinks.level and not shown:
            stream = _sinks.stream or sys.stderr
            stream.write(_line(event) + "\n")
            stream.flush()
    raise structlog.DropEvent


def _line(event: Event) -> str:
    """One event as a person reads it: the traceback stays in the file."""
    hidden = ("event", "level", "timestamp", "exception", "run_id")
    fields = [f"{name}={value}" for name, value in event.items() if name not in hidden]
    words = [str(event.get("level", "info")) + ":", str(event.get("event", "")), *fields]
    return visible(" ".join(words))
