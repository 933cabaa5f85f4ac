"""Where a file is, where it should be: the edge's location and the row's url against each other."""

import numpy as np
from numpy.typing import NDArray

from checks.cases import SLOT_NUMBER, WIDTH, Cases
from checks.model import Artifact, Backend
from checks.reported import Reported
from checks.states import Memory, Object, Verdict

_BLOB_ASSET = SLOT_NUMBER[Artifact.ASSET, Backend.BLOB]
_SILENT = (Verdict.UNKNOWN, Verdict.IN_FLIGHT)


def report_conflicts(cases: Cases, reported: Reported, settled: NDArray[np.bool_]) -> None:
    """Reports files of which the edge and the row's url name different objects.

    Only where one of the two objects is there: else the file is missing, whatever it is called. An
    edge whose own object is gone is not missing where the url's is there: the app may have moved
    the file, and turning the edge off would be a guess.
    """
    edge_object = cases.object[:, _BLOB_ASSET] == Object.THERE
    row_object = row_object_there(cases)
    conflict = cases.url_differs() & (edge_object | row_object) & ~settled
    conflict &= cases.memory == Memory.THERE
    conflict &= ~np.isin(cases.verdict[:, _BLOB_ASSET], _SILENT)
    elsewhere = conflict & ~edge_object
    reported.supersede(_blob_cases(elsewhere), "location_conflict")
    reported.add(_blob_cases(conflict & ~elsewhere), "location_conflict")


def row_object_there(cases: Cases) -> NDArray[np.bool_]:
    """Memories whose url names another object than their edge, and that object is there."""
    return cases.memories["row_object_version"].notna().to_numpy(dtype=bool)


def _blob_cases(memories: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(memories) * WIDTH + _BLOB_ASSET
