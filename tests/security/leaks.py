"""Finding a secret again in whatever it may have become: encoded, cut, spread over a database."""

import base64
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pyarrow.parquet as pq

#: Parts of this length are looked for, every so many characters of a secret: a run of it that is
#: longer than both together is found, whatever was cut off.
_PART, _STEP = 12, 4
_PROC = Path("/proc")
_BETWEEN_LOOKS = 0.1


def traces_of(secret: str | bytes) -> set[bytes]:
    """What must stand nowhere: parts of the secret as it is, in a URL, in hex and in base64.

    Each form is cut into overlapping parts, so that half a secret is found too. In base64 a text
    looks different at each of three places in what it is encoded together with.
    """
    plain = secret.encode() if isinstance(secret, str) else secret
    forms = {plain}
    if isinstance(secret, str):
        forms |= {quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    parts = {part for form in forms for part in _parts(form)}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # the characters at both ends depend on what stands beside the secret
            first = -(-before * 8 // 6)
            last = (before + len(plain)) * 8 // 6
            parts |= set(_parts(encode(b"\0" * before + plain)[first:last], _PART * 4 // 3))
    for digits in (plain.hex().encode(), plain.hex().upper().encode()):
        parts |= set(_parts(digits, 2 * _PART))
    return parts


def _parts(text: bytes, length: int = _PART) -> Iterator[bytes]:
    last = max(0, len(text) - length)
    yield from (text[start : start + length] for start in {*range(0, last, _STEP), last})


@dataclass
class Marks:
    """Secrets that are looked for, each by a name that a failing test may show."""

    secrets: Mapping[str, str | bytes]
    _traces: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, secret in self.secrets.items():
            self._traces |= dict.fromkeys(traces_of(secret), name)

    def found_in(self, data: bytes) -> set[str]:
        """The names of the secrets of which ``data`` holds a part."""
        return {name for trace, name in self._traces.items() if trace in data}

    def found_below(self, directory: Path) -> dict[str, set[str]]:
        """The same for every file, Parquet and SQLite as what they hold; by file's path."""
        found: dict[str, set[str]] = {}
        for path in sorted(each for each in directory.rglob("*") if each.is_file()):
            names = set()
            with suppress(FileNotFoundError):  # what a process took with it when it ended
                names |= self.found_in(b"\n".join(_readings(path)))
            names |= self.found_in(str(path.relative_to(directory)).encode())
            if names:
                found[str(path.relative_to(directory))] = names
        return found


def _readings(path: Path) -> Iterable[bytes]:
    yield path.read_bytes()
    if path.suffix == ".parquet":
        yield str(pq.read_table(path).to_pylist()).encode()
    if path.suffix == ".db":
        with closing(sqlite3.connect(path)) as database:
            named = "SELECT name FROM sqlite_master WHERE type = 'table'"
            for (table,) in database.execute(named).fetchall():
                for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608
                    yield b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in row)


class Processes:
    """Notes what can be seen of a process and its descendants while they live: their arguments."""

    def __init__(self, pid: int) -> None:
        self.seen: set[bytes] = set()
        self._family = {pid}
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watching.join()

    def _watch(self) -> None:
        while True:
            for process in _PROC.glob("[0-9]*"):
                with suppress(OSError, IndexError, ValueError):
                    parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                    pid = int(process.name)
                    if parent in self._family or pid in self._family:
                        self._family.add(pid)
                        self.seen.add((process / "cmdline").read_bytes())
            if self._over.wait(_BETWEEN_LOOKS):
                return
