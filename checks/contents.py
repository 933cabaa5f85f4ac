"""Whose bytes are right: rot told from writing, and where nobody can tell.

*Rot*: the store's version is what it was when the bytes were last verified, or older than the edge,
and the bytes differ. *Written*: the version is newer. A copy of something that was written since is
*outdated*. Where the ledger contradicts itself, or all replicas agree against it, a person decides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from checks.cases import ASSET_SLOTS, WIDTH, Cases
from checks.model import Backend
from checks.replicas import Flags, Replicas, Texts, known, only, other, same
from checks.reported import Reported
from checks.states import Verdict

_COMPARABLE = (Verdict.COMPARE, Verdict.STALE_FAILURE, Verdict.UNMARKED)
_NEON, _BLOB, _ICP = (list(Backend).index(each) for each in Backend)
#: What is said of single edges is withdrawn where the asset as a whole is in doubt.
_OF_CONTENTS = ("hash_mismatch", "size_mismatch", "stale_hash", "outdated_replica",
                "hash_unknown", "stale_failure")  # fmt: skip


@dataclass(slots=True)
class _Compared:
    """How each asset's bytes stand to its edge, each array of shape (memories, 3)."""

    comparable: Flags
    size_differs: Flags
    hash_differs: Flags
    written: Flags
    undecided: Flags

    @property
    def differs(self) -> Flags:
        """The bytes are not what the edge says."""
        return self.size_differs | self.hash_differs


def report_contents(
    cases: Cases, replicas: Replicas, reported: Reported, settled: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Reports edges whose asset holds other bytes; gives the memories whose asset is in doubt.

    The latter are ``replica_divergence``, shape (memories,).
    """
    compared = _compare(cases, replicas, settled)
    against = _all_against_the_ledger(replicas, compared)
    follows = against & (compared.written & ~replicas.ever_verified()).any(axis=1)
    behind = compared.differs & (compared.written | follows[:, None])
    outdated = _outdated(replicas, compared)
    rot = compared.differs & ~behind
    reported.add(_cases(behind), "stale_hash")
    reported.add(_cases(rot & compared.size_differs), "size_mismatch")
    reported.add(_cases(rot & ~compared.size_differs), "hash_mismatch")
    reported.add(_cases(outdated), "outdated_replica")
    _report_unread(cases, compared, reported)
    unhashed = compared.comparable & ~known(replicas.recorded) & replicas.claimed
    reported.add(_cases(unhashed), "hash_unknown")

    divergent = (against & ~follows) | (compared.differs & compared.undecided).any(axis=1)
    divergent |= _contradicting(replicas, compared) & ~outdated.any(axis=1)
    doubtful = _cases(compared.comparable & divergent[:, None])
    reported.withdraw(doubtful[np.isin(reported.of(doubtful), _OF_CONTENTS)])
    reported.about.reshape(-1)[doubtful] = True
    return divergent


def _compare(cases: Cases, replicas: Replicas, settled: NDArray[np.bool_]) -> _Compared:
    comparable = np.isin(cases.verdict, _COMPARABLE)[:, ASSET_SLOTS] & ~settled[:, None]
    later = replicas.written_at > replicas.touched_at
    # What the bytes were verified to be tells more than the edge's age.
    proven = same(replicas.verified_sha256, replicas.recorded) & known(replicas.verified_version)
    moved_on = other(replicas.version, replicas.verified_version)
    return _Compared(
        comparable,
        size_differs=comparable & other(replicas.size, replicas.recorded_size),
        hash_differs=comparable & other(replicas.sha256, replicas.recorded),
        written=np.where(proven, moved_on, later),
        undecided=~proven & (np.isnat(replicas.written_at) | np.isnat(replicas.touched_at)),
    )


def _all_against_the_ledger(replicas: Replicas, compared: _Compared) -> Flags:
    """Assets of which all replicas, two at least, were read and are alike, but not as recorded.

    The copies descend from each other: they prove nothing against the ledger.
    """
    held = replicas.there & compared.comparable
    all_read = (replicas.read() | ~replicas.there).all(axis=1) & (held.sum(axis=1) > 1)
    alike = all_read & _one_value(only(replicas.sha256, held))
    recorded = only(replicas.recorded, held)
    against: Flags = alike & _one_value(recorded) & compared.hash_differs.any(axis=1)
    return against


def _one_value(values: Texts) -> Flags:
    """Rows whose known texts, one at least, are all the same."""
    there = known(values)
    first = np.take_along_axis(values, there.argmax(axis=1)[:, None], axis=1)
    one: Flags = there.any(axis=1) & (~there | (values == first)).all(axis=1)
    return one


def _source(replicas: Replicas) -> NDArray[np.intp]:
    """The store that each asset came from: Neon where a note's text is, else the blob store."""
    return np.where(replicas.there[:, _NEON], _NEON, _BLOB)


def _pair(values: NDArray[np.generic], source: NDArray[np.intp]) -> tuple[NDArray[np.generic], ...]:
    """Of each asset the value at its source and that of its copy on the canister."""
    return values[np.arange(len(values)), source], values[:, _ICP]


def _outdated(replicas: Replicas, compared: _Compared) -> Flags:
    """Copies that are older than a source that holds something else by now."""
    source = _source(replicas)
    both = np.logical_and(*_pair(compared.comparable, source))
    contents = replicas.sha256.copy()
    trusted = compared.comparable & ~compared.size_differs & ~compared.written
    unread = trusted & ~known(contents)
    contents[unread] = replicas.recorded[unread]
    differ = other(*_pair(contents, source)) | other(*_pair(replicas.size, source))
    newer = np.greater(*_pair(replicas.written_at, source))
    # Neither may be rotten: that would make them differ as well.
    sound_source, _ = _pair(~compared.differs | compared.written, source)
    _, sound_copy = _pair(~compared.differs, source)
    outdated = np.zeros(replicas.there.shape, dtype=bool)
    outdated[:, _ICP] = both & differ & newer & sound_source & sound_copy
    return outdated


def _contradicting(replicas: Replicas, compared: _Compared) -> Flags:
    """Assets whose edges have different hashes, or whose replicas differ and no hash says why."""
    claims = compared.comparable & replicas.claimed
    recorded = only(replicas.recorded, claims)
    edges = known(recorded).any(axis=1) & ~_one_value(recorded)
    read = only(replicas.sha256, compared.comparable)
    bytes_differ = known(read).any(axis=1) & ~_one_value(read)
    unsaid = (known(read) & ~known(replicas.recorded)).any(axis=1)
    contradicting: Flags = edges | (bytes_differ & unsaid & ~compared.differs.any(axis=1))
    return contradicting


def _report_unread(cases: Cases, compared: _Compared, reported: Reported) -> None:
    """What could not be read is not known to be right: its failure is not called outdated."""
    case = _cases(compared.comparable & ~compared.size_differs)
    outcome = cases.hashes["outcome"].reindex(case)
    failed = outcome.isin(["changed", "failed"]).to_numpy(dtype=bool)
    unread = failed & (reported.of(case) != "unmarked")
    reported.supersede(case[unread], "unverifiable")


def _cases(flags: Flags) -> NDArray[np.intp]:
    """The numbers of the cases that are meant by flags of shape (memories, 3)."""
    memory, place = np.nonzero(flags)
    numbers: NDArray[np.intp] = memory * WIDTH + np.asarray(ASSET_SLOTS)[place]
    return numbers
