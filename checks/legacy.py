"""What years of use leave in an app's rows, kind by kind: what it means and what to do about it."""

from dataclasses import dataclass, field

from checks.normal import LocationProblem

SAMPLES = 5


@dataclass(frozen=True, slots=True)
class LegacyKind:
    """One kind of dirt.

    Attributes:
        meaning: what was found.
        next_step: what to do about it; says so where that is nothing.
    """

    meaning: str
    next_step: str


LEGACY = {
    "url_null": LegacyKind(
        "rows without a url",
        "look in the app's upload log for the file; without one there is nothing to store",
    ),
    "url_empty": LegacyKind(
        "rows whose url is blank", "as rows without a url: find the file, or delete the row"
    ),
    "url_relative": LegacyKind(
        "rows with a path where a URL belongs",
        "write the whole URL into the row; nobody but the app knows what the path is relative to",
    ),
    "url_foreign": LegacyKind(
        "rows whose url leads to another host",
        "upload the file to the blob store and write its URL into the row; foreign hosts are never "
        "fetched",
    ),
    "url_unparseable": LegacyKind(
        "rows whose url is none", "correct the url in the row, or delete the row"
    ),
    "url_with_query": LegacyKind(
        "urls with a query or fragment", "nothing: the file is found without it"
    ),
    "url_percent_encoded": LegacyKind(
        "urls with percent-encoding", "nothing: they are compared decoded"
    ),
    "blob_gone": LegacyKind(
        "rows whose file is not in the blob store",
        "see the findings of kind lost; a file that the canister holds can be put back from there",
    ),
    "blob_unknown": LegacyKind(
        "rows whose file could not be looked for",
        "run edgekeeper backfill again when the blob store can be listed whole",
    ),
    "blob_in_flight": LegacyKind(
        "rows younger than the grace period whose file is not there yet",
        "run edgekeeper backfill again later",
    ),
    "blob_shared": LegacyKind(
        "files that several memories name",
        "nothing; deleting one of these memories in the app must not delete the file",
    ),
    "id_not_uuid": LegacyKind(
        "rows whose id is no UUID",
        "the ledger can't hold them; give them UUIDs in the app, and run the back-fill again",
    ),
    "id_not_canonical": LegacyKind(
        "rows whose id is a UUID in another spelling", "nothing: the ledger has the usual spelling"
    ),
    "type_mismatch": LegacyKind(
        "memories that the canister has under another type",
        "a person decides which type is right; the canister's copy has no edges until then",
    ),
    "size_wrong": LegacyKind(
        "rows whose size is not that of the file",
        "nothing for the ledger, which has the file's own; correct the row if the app shows it",
    ),
    "size_unreadable": LegacyKind(
        "rows whose size is no number", "nothing for the ledger, which has the file's own"
    ),
    "size_only_in_metadata": LegacyKind(
        "rows whose size is only in the JSON", "nothing for the ledger, which has the file's own"
    ),
    "no_time": LegacyKind(
        "rows that do not say when they were made",
        "nothing; they count as old, so that the grace period does not protect them",
    ),
    "owner_gone": LegacyKind(
        "rows whose owner is not among the users",
        "decide in the app whether they are to be kept; the ledger keeps them",
    ),
}
URL_KINDS = {
    LocationProblem.NULL: "url_null",
    LocationProblem.RELATIVE: "url_relative",
    LocationProblem.FOREIGN: "url_foreign",
    LocationProblem.UNPARSEABLE: "url_unparseable",
}


@dataclass(slots=True)
class LegacyFact:
    """How many rows are of one kind, and some of them, each as ``type id``."""

    count: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, count: int, samples: list[str]) -> None:
        """Adds what was found elsewhere."""
        self.count += count
        self.samples = sorted({*self.samples, *samples})[:SAMPLES]
