"""Which files of a run's directory its processes exchange where they share nothing but a URL.

By stage: what the run's own process makes known of it to the workers, what a worker needs before it
begins, and what it makes that the others need. A stage is named as ``AuditRun.stage`` has it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from checks.model import Backend

#: A file of a run's directory by its path there: the object that holds it, and its bytes if known.
Files = Mapping[str, tuple[str, int | None]]
#: By what the run's own process made known under one name, patterns of the files wanted of it.
Needs = Mapping[str, Sequence[str]]

_ALL = "part-*.parquet"
_LEDGER, _ROWS, _ITEMS = (
    f"ledger/{_ALL}",
    f"inventory/{Backend.NEON}/{_ALL}",
    f"gallery-items/{_ALL}",
)
_LISTED = {each: f"inventory/{each}/{_ALL}" for each in (Backend.BLOB, Backend.ICP)}
_LEFT_OVER = f"seen/left-over-by-size/{_ALL}"
_SNAPSHOT, _RESOLVED, _READ = "snapshot", "resolve", "verify"
_TABLES: Mapping[str, Needs] = {
    "ledger": {_SNAPSHOT: [_LEDGER]},
    Backend.NEON.value: {_SNAPSHOT: [_ROWS]},
    "gallery-items": {_SNAPSHOT: [_ITEMS, _ROWS, _LEDGER]},
    **{each.value: {f"list-{each}": [pattern]} for each, pattern in _LISTED.items()},
}
_EVERY_TABLE: Needs = {
    _SNAPSHOT: [_LEDGER, _ROWS, _ITEMS],
    **{f"list-{each}": [pattern] for each, pattern in _LISTED.items()},
}
_TRACKED = f"quality/gallery-items/{_ALL}"
_LISTING = re.compile(f"list-(?P<store>{'|'.join(_LISTED)})(?:-(?P<shard>[0-9a-f]+))?")
_CHECKS = re.compile(r"quality-checks(?:-(?P<table>.+))?")
_SHARE = re.compile(r"(?P<line>verify-[0-9a-f]+)-[0-9]+")
_LINE = re.compile(r"verify-[0-9a-f]+")
_COMPARING = re.compile(r"compare-(?P<partition>[0-9]+)(?:-again)?")
#: What comparing a partition leaves of it.
_CONCLUDED = ("judged", "parts", "dropped", "moved", "findings", "quality/stored-copies")
#: Written only where there is something to write.
_IF_ANY = "moved/"


def offered(stage: str) -> Sequence[str]:
    """Patterns of the files that the run's own process makes known when a stage is done.

    For the shares of a line they are made known under the line's name, before any of it is read.
    """
    if _LINE.fullmatch(stage):
        return [f"shares/{stage}-*/{_ALL}", f"shares/{stage}-*.npy"]
    own = {
        _SNAPSHOT: [_LEDGER, _ROWS, _ITEMS],
        _RESOLVED: [*(f"seen/{each}/{_ALL}" for each in _LISTED), _LEFT_OVER],
        _READ: [f"readings/{_ALL}", f"hashes/{_ALL}"],
    }
    return own.get(stage, made(stage) if lists_all(stage) else [])


def needed(stage: str) -> Needs:
    """What a worker needs for a stage. Raises LookupError where none is declared."""
    if _LISTING.fullmatch(stage):
        return {}
    if found := _CHECKS.fullmatch(stage):
        return _TABLES[found["table"]] if found["table"] else _EVERY_TABLE
    if found := _SHARE.fullmatch(stage):
        return {found["line"]: [f"shares/{stage}/{_ALL}", f"shares/{stage}.npy"]}
    part = _part(stage)
    return {
        _SNAPSHOT: [f"ledger/{part}", f"inventory/{Backend.NEON}/{part}"],
        _RESOLVED: [
            *(f"seen/{each}/{part}" for each in _LISTED),
            _LEFT_OVER,  # what is missing may be any of it, under another name
        ],
        _READ: [f"readings/{part}", f"hashes/{part}"],
    }


def made(stage: str) -> Sequence[str]:
    """Patterns of the files that a worker makes in a stage. Raises LookupError as above."""
    if found := _LISTING.fullmatch(stage):
        store, shard = found["store"], found["shard"]
        return [f"shards/{store}/{shard}/{_ALL}" if shard else _LISTED[Backend(store)]]
    if found := _CHECKS.fullmatch(stage):
        return [_TRACKED] if found["table"] in (None, "gallery-items") else []
    if _SHARE.fullmatch(stage):
        return [f"shares/{stage}-left.npy", portions(stage)]
    part = _part(stage)
    return [f"{directory}/{part}" for directory in _CONCLUDED]


def unmade(stage: str, files: Files) -> str | None:
    """What is lacking among the files that a worker made in a stage, None where nothing is."""
    for pattern in made(stage):
        always = _LISTING.fullmatch(stage) if "*" in pattern else not pattern.startswith(_IF_ANY)
        if always and not any(fits(name, pattern) for name in files):
            return pattern
    return None


def makes(stage: str, files: Files) -> bool:
    """Whether these are files of a stage that workers do: none foreign, and none lacking."""
    try:
        needed(stage)
        patterns = made(stage)
    except LookupError:
        return False
    own = all(any(fits(name, pattern) for pattern in patterns) for name in files)
    return own and unmade(stage, files) is None


def fits(name: str, pattern: str) -> bool:
    """Whether a path has the form of a pattern, in which a * stands for no /."""
    return name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)


def whole_listing(stage: str) -> str | None:
    """The stage that makes one listing of the shards of which ``stage`` lists one, None if none."""
    found = _LISTING.fullmatch(stage)
    return f"list-{found['store']}" if found and found["shard"] else None


def lists_all(stage: str) -> bool:
    """Whether a stage lists a whole store: whatever else lies there is none of it."""
    found = _LISTING.fullmatch(stage)
    return found is not None and found["shard"] is None


def is_share(stage: str) -> bool:
    """Whether a stage reads a share of a line: what it reads is put while it reads."""
    return _SHARE.fullmatch(stage) is not None


def portions(share: str) -> str:
    """The pattern of the portions of a share: these are made known while it is read."""
    return f"read/part-*-{share}-*.parquet"


def _part(stage: str) -> str:
    found = _COMPARING.fullmatch(stage)
    if found is None:
        raise LookupError(f"what a worker needs for the stage {stage} is not declared")
    return f"part-{int(found['partition']):05d}.parquet"


def chosen(files: Files, patterns: Sequence[str], lacking: Callable[[str], Exception]) -> Files:
    """Those of ``files`` that a pattern asks for.

    Raises what ``lacking`` gives for a pattern that is a file's own name and is not there.
    """
    found: dict[str, tuple[str, int | None]] = {}
    for pattern in patterns:
        if "*" in pattern:
            names = [name for name in files if fits(name, pattern)]
        elif pattern in files:
            names = [pattern]
        else:
            raise lacking(pattern)
        found |= {name: files[name] for name in names}
    return found


def is_inside(name: str) -> bool:
    """Whether a name leads to a place below the run's directory."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
