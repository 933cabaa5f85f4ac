"""The record of one run: what outside programs read, what the report shows, what the run ends with.

The object's shape is a contract (``edgekeeper.run/1``): keys may be added, none may change. Readers
ignore keys they do not know, and so does :meth:`RunRecord.from_json`.
"""

import json
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from checks.model import RepairPolicy, RepairState, RunStatus, StoreState

SCHEMA: Literal["edgekeeper.run/1"] = "edgekeeper.run/1"
#: More findings than this are in ``findings.csv`` and ``findings.parquet`` only.
MAX_FINDINGS_IN_JSON = 10_000

Severity = Literal["info", "warning", "critical"]
#: The worst first: the order in which everything is listed.
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
#: How grave each is, 0 the gravest.
SEVERITY_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_OPEN_SEVERITIES = ("critical", "warning")

_DONE, _OPEN, _INCONCLUSIVE, _FAILED, _INTERRUPTED = 0, 1, 3, 5, 130
_EXIT_CODES = {
    RunStatus.CLEAN: _DONE,
    RunStatus.DRIFT: _OPEN,
    RunStatus.INCONCLUSIVE: _INCONCLUSIVE,
    RunStatus.FAILED: _FAILED,
}


def utc(moment: datetime) -> datetime:
    """``moment`` in UTC; one without a zone is taken to be in UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def rfc3339(moment: datetime) -> str:
    """``moment`` as ``2026-11-23T03:15:00Z``: whole seconds, which every date parser can read."""
    return utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole_second(moment: datetime) -> datetime:
    """``moment`` in UTC as it is written, so that a record read back equals the one written."""
    return utc(moment).replace(microsecond=0)


UtcTime = Annotated[
    datetime,
    AfterValidator(_whole_second),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
]


def new_run_id(now: datetime) -> str:
    """An id such as ``20261123T031500Z-7f3a``: sorts by time, and two at once differ."""
    return f"{utc(now):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


class _Part(BaseModel):
    """A part of the record: never changed in place, unknown keys ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StoreSummary(_Part):
    """How one store's listing went; the fields of a listing report under the same names."""

    state: StoreState = StoreState.NOT_CONFIGURED
    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0
    requests: int = 0
    detail: str | None = None
    unknown_parts: dict[str, str] = Field(default_factory=dict)
    ignored: int = 0
    shrunk_from: int | None = None


class Edges(_Part):
    """How much of the ledger was compared."""

    total: int = 0
    compared: int = 0
    agree: int = 0


class Amount(_Part):
    """Some copies, and their bytes."""

    assets: int = 0
    bytes: int = 0


class StoreCoverage(_Part):
    """How many of the copies in one store were verified, within 7, 30, 90 days and ever.

    ``oldest`` is the oldest of their last verifications; ``unverifiable`` are copies whose last
    reading came to no end.
    """

    assets: int = 0
    bytes: int = 0
    verified: dict[str, Amount] = Field(default_factory=dict)
    oldest: UtcTime | None = None
    unverifiable: int = 0


class Coverage(_Part):
    """How much of what the ledger says of bytes rests on bytes that were read.

    ``left_this_run`` counts copies that could have been read and had no room in the budget;
    ``full_cycle_runs`` is how many runs like this one read everything once, None: never.
    """

    assets: int = 0
    hashed_this_run: int = 0
    bytes_this_run: int = 0
    hash_ever_verified: int = 0
    oldest_verification: UtcTime | None = None
    unverifiable: int = 0
    stores: dict[str, StoreCoverage] = Field(default_factory=dict)
    left_this_run: int = 0
    full_cycle_runs: int | None = None


class Repairs(_Part):
    """What became of the repairs of this run."""

    applied: int = 0
    superseded: int = 0
    refused: int = 0
    failed: int = 0


class Checks(_Part):
    """The data-quality checks."""

    passed: int = 0
    failed: int = 0


class Open(_Part):
    """Findings that nobody repaired or acknowledged, by severity."""

    critical: int = 0
    warning: int = 0
    info: int = 0


class Changed(_Part):
    """How many findings are not as they were after the completed run before."""

    new: int = 0
    worse: int = 0
    resolved: int = 0


class Usage(_Part):
    """What was, or will be, asked of the stores: what they bill, or limit.

    ``blob_advanced`` and ``blob_simple`` are operations as the blob store classes them,
    ``blob_bytes`` bytes of files that it sends, ``icp_requests`` requests to the canister.
    """

    blob_advanced: int = 0
    blob_simple: int = 0
    blob_bytes: int = 0
    icp_requests: int = 0

    @classmethod
    def together(cls, parts: Iterable[Self]) -> Self:
        """All of them added up."""
        each = list(parts)
        return cls(**{name: sum(getattr(p, name) for p in each) for name in cls.model_fields})


class Forecast(_Part):
    """What a run will use: ``listing`` the stores, and in ``total``.

    ``from_last_run``: its time is that of the last one, else a guess. ``used_this_month`` is what
    the runs on record used since the month began (UTC), ``quota`` what the plan includes a month,
    None where no limit is known, and ``over`` a sentence for each part of it that would be passed.
    """

    listing: Usage = Usage()
    total: Usage = Usage()
    seconds: float = 0.0
    from_last_run: bool = False
    used_this_month: Usage = Usage()
    quota: Usage | None = None
    over: tuple[str, ...] = ()


class Stage(_Part):
    """What one stage of the run took."""

    name: str
    seconds: float
    peak_rss_mb: float | None = None


class Replica(_Part):
    """One copy of one artifact, as it was observed."""

    backend: str
    artifact: str
    present: bool | None
    size_bytes: int | None = None
    sha256: str | None = None
    evidence: str
    certificate: str | None = None


class MemoryVerdict(_Part):
    """What was observed of one memory."""

    memory_id: str
    memory_type: str
    verdict: Literal[
        "stored_forever", "partially_on_icp", "standard_storage", "incomplete", "lost",
        "icp_only", "unknown",
    ]  # fmt: skip
    replicas: tuple[Replica, ...] = ()


class GalleryVerdict(_Part):
    """What was observed of a gallery; of one memory asked for by itself where ``id`` is None.

    ``on_icp``: how the items and their order are in the canister's gallery of that id.
    """

    id: str | None
    title: str | None = None
    storage_status: str | None = None
    verdict: Literal[
        "stored_forever", "partially_on_icp", "standard_storage", "incomplete", "empty",
        "not_found", "unknown",
    ]  # fmt: skip
    owner_id: str | None = None
    on_icp: Literal["same", "different", "not_there", "unknown"] | None = None
    memories: tuple[MemoryVerdict, ...] = ()


class Finding(_Part):
    """One difference between what the ledger says and what was observed."""

    fingerprint: str
    kind: str
    severity: Severity
    memory_id: str | None = None
    memory_type: str | None = None
    artifact: str | None = None
    backend: str | None = None
    location: str | None = None
    gallery_id: str | None = None
    expected: dict[str, Any] | None = None
    observed: dict[str, Any] | None = None
    evidence: str
    explanation: str
    repair: RepairState = RepairState.NONE
    repair_detail: str | None = None
    first_seen: UtcTime
    runs_seen: int = 1
    acknowledged_until: UtcTime | None = None
    stays_open: bool | None = None
    acknowledged_reason: str | None = None
    woken: str | None = None

    def is_acknowledged(self, now: datetime) -> bool:
        """Whether a person has taken note of it, and it need not be told again yet."""
        return self.acknowledged_until is not None and self.acknowledged_until > utc(now)

    def is_open(self, now: datetime) -> bool:
        """Whether somebody still has to do something about it."""
        if self.is_acknowledged(now):
            return False
        return self.repair is not RepairState.APPLIED or bool(self.stays_open)


class StoredMemory(_Part):
    """What became of one memory that was to be stored forever.

    ``metadata`` and ``asset`` are ``stored``, ``already stored``, ``failed``, ``skipped``, or of a
    dry run ``to be stored``; ``reason`` says why one failed or was skipped.
    """

    memory_id: str
    memory_type: str
    metadata: str
    asset: str
    location: str | None = None
    bytes: int = 0
    update_calls: int = 0
    reason: str | None = None


class StoreForever(_Part):
    """What Store Forever did, or would do (``dry_run``).

    ``bytes`` and ``update_calls`` are of what is copied; ``seconds_expected`` is a dry run's
    forecast.
    """

    dry_run: bool
    capsule_id: str | None = None
    bytes: int = 0
    update_calls: int = 0
    seconds_expected: float | None = None
    memories: tuple[StoredMemory, ...] = ()


_TIME = pa.timestamp("us", tz="UTC")

#: One row per finding. ``expected`` and ``observed`` are JSON objects as text. The columns
#: ``OPTIONAL`` may be left out of a frame: until when a person acknowledged the finding, whether it
#: is still open although its repair was applied (a moved object whose app row still names the old
#: place), in which words it was acknowledged, and why that no longer counts.
FINDINGS = pa.schema(
    [
        ("fingerprint", pa.string()),
        ("kind", pa.string()),
        ("severity", pa.string()),
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("artifact", pa.string()),
        ("backend", pa.string()),
        ("location", pa.string()),
        ("gallery_id", pa.string()),
        ("expected", pa.string()),
        ("observed", pa.string()),
        ("evidence", pa.string()),
        ("explanation", pa.string()),
        ("repair", pa.string()),
        ("repair_detail", pa.string()),
        ("first_seen", _TIME),
        ("runs_seen", pa.int64()),
        ("acknowledged_until", _TIME),
        ("stays_open", pa.bool_()),
        ("acknowledged_reason", pa.string()),
        ("woken", pa.string()),
    ]
)
OPTIONAL = ("acknowledged_until", "stays_open", "acknowledged_reason", "woken")


class LegacyRows(_Part):
    """What a back-fill found odd about the app's rows; ``samples`` are ``type id``."""

    kind: str
    count: int
    samples: tuple[str, ...] = ()
    meaning: str
    next_step: str


class RunRecord(_Part):
    """Everything a run has to say. The first fields, in this order, are the contract.

    Beyond it: ``findings_total``, ``open`` and ``acknowledged`` count all findings, also those that
    ``findings`` is too short for; ``inconclusive`` holds a sentence for each reason why the run
    can't conclude (a breaker that refused, a capsule that could not be read); ``breaker`` one for
    each store whose breaker trips, also where no repair was asked for; ``error`` what a failed run
    failed of; ``interrupted`` marks one that was stopped and can be resumed; ``legacy`` what a
    back-fill found odd about the app's rows; ``usage`` what
    was asked of the stores, and ``forecast`` what was expected before.
    """

    schema_: Literal["edgekeeper.run/1"] = Field(
        SCHEMA, validation_alias="schema", serialization_alias="schema"
    )
    run_id: str
    flow: str
    status: RunStatus = RunStatus.CLEAN
    started_at: UtcTime
    finished_at: UtcTime | None = None
    repair: RepairPolicy = RepairPolicy.NONE
    stores: dict[str, StoreSummary] = Field(default_factory=dict)
    edges: Edges = Edges()
    coverage: Coverage = Coverage()
    counts: dict[str, int] = Field(default_factory=dict)
    repairs: Repairs = Repairs()
    checks: Checks = Checks()
    findings: tuple[Finding, ...] = ()
    findings_truncated: bool = False
    report: str | None = None
    gallery: GalleryVerdict | None = None
    store_forever: StoreForever | None = None

    findings_total: int = 0
    open: Open = Open()
    acknowledged: int = 0
    changes: Changed | None = None
    inconclusive: tuple[str, ...] = ()
    breaker: tuple[str, ...] = ()
    error: str | None = None
    interrupted: bool = False
    version: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    settings: dict[str, str] = Field(default_factory=dict)
    limits: dict[str, str | int | float | None] = Field(default_factory=dict)
    usage: Usage | None = None
    forecast: Forecast | None = None
    legacy: tuple[LegacyRows, ...] = ()

    @property
    def breaker_to_come(self) -> tuple[str, ...]:
        """What the breaker would say of repairs, where none were asked for."""
        return self.breaker if self.repair is RepairPolicy.NONE else ()

    def to_json(self) -> str:
        """The contract's object, two-space indented.

        In ASCII: a terminal that shows it can't be driven by what a file name holds.
        """
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=True) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The contract's object as plain values."""
        body = self.model_dump(mode="json", by_alias=True)
        if not self.findings_truncated:
            del body["findings_truncated"]
        for part in ("gallery", "store_forever", "legacy"):
            if not body[part]:
                del body[part]
        for finding in body["findings"]:
            for optional in OPTIONAL:
                if finding[optional] is None:
                    del finding[optional]
        return body

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The record in ``text``. Raises ValueError where it is none of this schema."""
        return cls.model_validate_json(text)


def findings_table(frame: Any) -> pa.Table:
    """A data frame of findings with the columns of ``FINDINGS``, the worst first.

    Raises ValueError where a column is missing or a severity is none; other columns are left out.
    """
    absent = [name for name in FINDINGS.names if name not in frame.columns]
    if missing := [name for name in absent if name not in OPTIONAL]:
        raise ValueError(f"findings lack the columns {', '.join(missing)}")
    if frame.empty:
        return FINDINGS.empty_table()
    # pandas has a column without any value as one of floats, which is no time and no text
    blank = [name for name in FINDINGS.names if name in absent or frame[name].isna().all()]
    frame = frame.assign(**dict.fromkeys(blank))
    table = pa.Table.from_pandas(frame[FINDINGS.names], schema=FINDINGS, preserve_index=False)
    return _worst_first(table.replace_schema_metadata(None))


def _worst_first(table: pa.Table) -> pa.Table:
    """``table`` ordered by severity, then kind, then what it is about."""
    severities = table.column("severity").to_pylist()
    if unknown := set(severities) - set(SEVERITY_RANK):
        raise ValueError(f"{unknown.pop()!r} is no severity")
    ranks = pa.array([SEVERITY_RANK[severity] for severity in severities], pa.int8())
    keys = ("rank", "kind", "memory_id", "artifact", "backend", "location", "fingerprint")
    order = table.append_column("rank", ranks).sort_by([(key, "ascending") for key in keys])
    return order.drop_columns(["rank"])


def side_of(text: str | None) -> dict[str, Any] | None:
    """What was expected or observed, from its text; what is no JSON object is kept as ``value``."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"value": value}


def findings_of(table: pa.Table) -> Iterator[Finding]:
    """The rows of a table of findings, one object each."""
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            for side in ("expected", "observed"):
                row[side] = side_of(row[side])
            row["repair"] = row["repair"] or RepairState.NONE
            yield Finding.model_validate(row)


def with_findings(run: RunRecord, frame: Any, *, now: datetime) -> RunRecord:
    """``run`` with the findings of a data frame (or of a table made by ``findings_table``).

    Fills ``findings``, ``findings_truncated``, ``findings_total``, ``counts``, ``open`` and
    ``acknowledged``.
    """
    table = frame if isinstance(frame, pa.Table) else findings_table(frame)
    counts = table.column("kind").value_counts().to_pylist()
    listed = tuple(findings_of(table.slice(0, MAX_FINDINGS_IN_JSON)))
    return run.model_copy(
        update={
            "findings": listed,
            "findings_truncated": table.num_rows > MAX_FINDINGS_IN_JSON,
            "findings_total": table.num_rows,
            "counts": {row["values"]: row["counts"] for row in counts},
            "open": count_open(table, now=now),
            "acknowledged": sum(
                until is not None and until > utc(now)
                for until in table.column("acknowledged_until").to_pylist()
            ),
        }
    )


def count_open(table: pa.Table, *, now: datetime) -> Open:
    """How many findings of each severity still want somebody: not repaired, not acknowledged."""
    columns = ("severity", "repair", "acknowledged_until", "stays_open")
    counted = dict.fromkeys(SEVERITIES, 0)
    moment = utc(now)
    for severity, repair, until, stays in zip(
        *(table.column(name).to_pylist() for name in columns), strict=True
    ):
        acknowledged = until is not None and until > moment
        if not acknowledged and (repair != RepairState.APPLIED or stays):
            counted[severity] += 1
    return Open.model_validate(counted)


def settled(run: RunRecord) -> RunRecord:
    """``run`` with the status that its parts amount to."""
    return run.model_copy(update={"status": status_of(run)})


def status_of(run: RunRecord) -> RunStatus:
    """The verdict over the parts of a run: failed before inconclusive before drift before clean.

    Findings that are repaired, acknowledged or of severity info leave a run clean.
    """
    if run.error is not None or run.interrupted:
        return RunStatus.FAILED
    if _reasons_to_doubt(run):
        return RunStatus.INCONCLUSIVE
    open_ones = any(getattr(run.open, severity) for severity in _OPEN_SEVERITIES)
    not_whole = run.gallery is not None and run.gallery.verdict in (
        "incomplete", "empty", "not_found",
    )  # fmt: skip
    return RunStatus.DRIFT if open_ones or run.checks.failed or not_whole else RunStatus.CLEAN


def _reasons_to_doubt(run: RunRecord) -> bool:
    """Whether a configured store was not seen whole, or the run said itself it can't conclude."""
    doubtful = (StoreState.INCOMPLETE, StoreState.UNREACHABLE)
    unseen = any(store.state in doubtful or store.unknown_parts for store in run.stores.values())
    unknown = run.gallery is not None and run.gallery.verdict == "unknown"
    return bool(run.inconclusive) or unseen or unknown


def exit_code(run: RunRecord) -> int:
    """What the process ends with: 130, 5, 3, 1 or 0, the first that applies."""
    return _INTERRUPTED if run.interrupted else _EXIT_CODES[run.status]
