"""The finding kinds as data: the code, the report's legend and the documentation read them here."""

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from checks.model import Backend


class Grain(StrEnum):
    """What one finding of a kind is about."""

    EDGE = "edge"
    ASSET = "asset"
    MEMORY = "memory"
    OBJECT = "object"
    ROW = "row"
    CONTENT = "content"
    GALLERY = "gallery"


#: The fields that make up a finding's identity at each grain; the others are null.
IDENTITY: dict[Grain, tuple[str, ...]] = {
    Grain.EDGE: ("memory_id", "memory_type", "artifact", "backend"),
    Grain.ASSET: ("memory_id", "memory_type", "artifact"),
    Grain.MEMORY: ("memory_id", "memory_type"),
    Grain.OBJECT: ("backend", "location"),
    Grain.ROW: ("memory_id", "memory_type", "artifact", "backend"),
    Grain.CONTENT: ("location",),
    Grain.GALLERY: ("gallery_id", "memory_id", "memory_type"),
}


class Severity(StrEnum):
    """What a finding means for the promise made to the user, worst last."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of difference between the ledger and the stores.

    Attributes:
        name: as it stands in all outputs.
        grain: what one finding is about.
        title: a heading.
        meaning: one sentence for somebody who has never seen it.
        next_step: what to do; may hold ``{memory_type}``, ``{memory_id}``, ``{gallery_id}``,
            ``{fingerprint}``.
        ledger_repair: what ``--repair ledger`` does, or None: no edit of the ledger mends it.
        content_repair: what ``--repair content`` would copy, or None.
        takes_away: the ledger repair turns present off or deletes: the breaker counts it.
        always_info: the severity is ``info`` whatever the replicas.
    """

    name: str
    grain: Grain
    title: str
    meaning: str
    next_step: str
    ledger_repair: str | None = None
    content_repair: str | None = None
    takes_away: bool = False
    always_info: bool = False


_AUDIT_LEDGER = "Run `edgekeeper audit --repair ledger`."
_A_PERSON = "A person has to look: the facts are beside the finding."

#: Gravest first: where two kinds apply to one edge the graver one is reported.
_ALL = (
    Kind(
        "lost", Grain.ASSET, "Lost",
        "The memory is there and its file was promised, but no store holds it.",
        "Look for the file in backups or with the owner; it stays open until the bytes are back.",
    ),
    Kind(
        "hash_mismatch", Grain.EDGE, "Content changed",
        "The stored bytes are not those the ledger recorded, and nobody visibly wrote them since.",
        "Keep the other copies. `edgekeeper audit --verify all --repair content` puts this back "
        "from a verified one.",
        content_repair="copied from a verified replica",
    ),
    Kind(
        "size_mismatch", Grain.EDGE, "Size changed",
        "The stored file has another length than the ledger recorded, unchanged since it was "
        "written.",
        "Keep the other copies. `edgekeeper audit --verify all --repair content` puts this back "
        "from a verified one.",
        content_repair="copied from a verified replica",
    ),
    Kind(
        "missing", Grain.EDGE, "Missing",
        "The ledger says the store holds it, and the store does not have it.",
        _AUDIT_LEDGER + " It then says so; the bytes come back by copying a verified replica.",
        ledger_repair="present=false, failed, with what was seen as the error",
        content_repair="copied from a verified replica",
        takes_away=True,
    ),
    Kind(
        "replica_divergence", Grain.ASSET, "Copies differ",
        "The copies of a file, or what the ledger says of them, contradict each other, and nothing "
        "says which of them is right.",
        _A_PERSON + " Decide with `edgekeeper resolve {fingerprint}`.",
    ),
    Kind(
        "invalid_id", Grain.ROW, "Invalid id",
        "The id is not a UUID in canonical form, so nothing else can be matched with it.",
        _A_PERSON + " Where the ledger alone writes it otherwise, "
        "`edgekeeper audit --repair ledger` mends it.",
        ledger_repair="canonical form in the ledger, where it is unambiguous",
    ),
    Kind(
        "invalid_location", Grain.ROW, "Invalid location",
        "The location or URL is empty, relative, foreign or unreadable, so it names no object.",
        "Correct the row in the app; where the edge alone is wrong, "
        "`edgekeeper audit --repair ledger` mends it.",
        ledger_repair="canonical location, where it is unambiguous",
    ),
    Kind(
        "invalid_row", Grain.ROW, "Invalid row",
        "A row of the ledger has a value that it can't have, so nothing else is concluded from it.",
        _A_PERSON + " Where only the hash is written in another form, "
        "`edgekeeper audit --repair ledger` mends it.",
        ledger_repair="canonical form of the hash, where it is unambiguous",
    ),
    Kind(
        "type_mismatch", Grain.MEMORY, "Two types",
        "One memory id is used under two memory types.",
        _A_PERSON,
    ),
    Kind(
        "location_conflict", Grain.ASSET, "Two locations",
        "The ledger's location and the row's URL name different objects for the same file.",
        _A_PERSON + " Correct the url in the app, or the ledger with "
        "`edgekeeper resolve {fingerprint}`.",
    ),
    Kind(
        "moved", Grain.EDGE, "Moved",
        "The file is no longer where the ledger says, and its very bytes are under another name "
        "that nothing refers to.",
        _AUDIT_LEDGER + " Correct the url in the app as well: until then nobody is shown the file.",
        ledger_repair="location: where it is",
    ),
    Kind(
        "external_only", Grain.EDGE, "Only a link on ICP",
        "The ledger says the file is on ICP, but the canister holds only a link to it.",
        _AUDIT_LEDGER + " The gallery is then no longer shown as stored forever.",
        ledger_repair="present=false for the ICP asset",
        content_repair="bytes copied to the canister",
        takes_away=True,
    ),
    Kind(
        "deleted_memory", Grain.MEMORY, "Deleted memory",
        "The memory's row is gone from Neon, but edges or stored objects are left of it.",
        _AUDIT_LEDGER + " What is left in the stores is then listed as orphaned.",
        ledger_repair="edges whose object is gone: present=false, Neon's made if there is none",
        takes_away=True,
    ),
    Kind(
        "stuck", Grain.EDGE, "Stuck",
        "A copy has been under way for longer than any copy takes.",
        _AUDIT_LEDGER,
        ledger_repair="idle if it is all there, else failed",
        content_repair="the copy resumed",
        takes_away=True,
    ),
    Kind(
        "outdated_replica", Grain.EDGE, "Outdated copy",
        "The original was written after it was copied: this copy is an older version of it.",
        "Copy it again: `edgekeeper store-forever --memory {memory_type}:{memory_id}`.",
    ),
    Kind(
        "stale_hash", Grain.EDGE, "Ledger behind",
        "The bytes were visibly written after the ledger row: the ledger is behind.",
        "Run `edgekeeper audit --verify all --repair ledger`.",
        ledger_repair="hash and size as read",
    ),
    Kind(
        "unmarked", Grain.EDGE, "Not marked",
        "The store holds it, but the ledger says it does not.",
        _AUDIT_LEDGER,
        ledger_repair="present=true as observed, idle, error cleared",
    ),
    Kind(
        "untracked", Grain.EDGE, "Untracked",
        "The memory and its object are there, but the ledger has no row for them.",
        _AUDIT_LEDGER,
        ledger_repair="edge inserted as observed",
    ),
    Kind(
        "sync_failed", Grain.EDGE, "Copy failed",
        "The last copy to this store failed and nothing is there.",
        "Copy it again: `edgekeeper audit --repair content`, or to the canister `edgekeeper "
        "store-forever --memory {memory_type}:{memory_id}`.",
        content_repair="copied again",
    ),
    Kind(
        "stale_failure", Grain.EDGE, "Outdated failure",
        "The ledger shows a failure, but the object is there and right.",
        _AUDIT_LEDGER,
        ledger_repair="idle, error cleared",
    ),
    Kind(
        "dangling_edge", Grain.EDGE, "Dangling edge",
        "The ledger has a row for a memory that exists nowhere.",
        _AUDIT_LEDGER,
        ledger_repair="edge deleted (it can be put back)",
        takes_away=True,
    ),
    Kind(
        "dangling_item", Grain.GALLERY, "Item of nothing",
        "A gallery has an item whose memory is gone.",
        "Remove the item in the app.",
    ),
    Kind(
        "gallery_divergence", Grain.GALLERY, "Galleries differ",
        "A gallery holds other items, or another order, in Neon than on the canister.",
        "Copy the memories that are not there: `edgekeeper store-forever --gallery {gallery_id}`. "
        "The list of a gallery's items there is the app's alone to write: have it do so again.",
    ),
    Kind(
        "unverifiable", Grain.EDGE, "Unverifiable",
        "The object is there, but its bytes could not be read and compared.",
        "Run the audit again with --verify; if it stays, look at the store.",
    ),
    Kind(
        "icp_only", Grain.MEMORY, "Only on ICP",
        "The canister holds a memory that Neon has never had.",
        _AUDIT_LEDGER + " It is then tracked as a memory that lives on ICP alone.",
        ledger_repair="the ICP edges inserted",
        always_info=True,
    ),
    Kind(
        "hash_unknown", Grain.EDGE, "No hash recorded",
        "The object is there, but the ledger has no hash to compare it with.",
        "Run `edgekeeper audit --verify all --repair ledger` to read the bytes and record it.",
        ledger_repair="hash filled in, once the bytes were read",
        always_info=True,
    ),
    Kind(
        "duplicate_content", Grain.CONTENT, "Held twice",
        "Several memories hold the same bytes.",
        "Nothing: holding them once would save the bytes that are named.",
        always_info=True,
    ),
    Kind(
        "orphaned", Grain.OBJECT, "Orphaned",
        "A stored object that nothing refers to any more, beside others that are in use.",
        "Nothing: it may be removed once it was seen for several runs over days.",
        always_info=True,
    ),
    Kind(
        "unclassified", Grain.OBJECT, "Unclassified",
        "A stored object in a place where nothing is known to be edgekeeper's business.",
        "Name its folder in EDGEKEEPER_BLOB_IGNORE if it is no memory.",
        always_info=True,
    ),
)  # fmt: skip

#: Every kind by its name, gravest first.
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
_RANKS = {name: rank for rank, name in enumerate(KINDS)}


def rank(kind: str) -> int:
    """How grave a kind is, 0 the gravest; one that another version knew comes last."""
    return _RANKS.get(kind, len(_RANKS))


#: Kinds of which the store's copy is other bytes than the ledger has recorded.
ROTTEN = frozenset({"hash_mismatch", "size_mismatch"})
#: Kinds of which the store holds nothing where it should.
ABSENT = frozenset({"missing", "sync_failed"})

#: Kinds that the ledger's row and one store settle. Whatever else there is rests on every store
#: that was looked at: a memory counts as gone, or an object as orphaned, only beside the others.
_ONE_STORE = frozenset(
    {
        "missing", "size_mismatch", "hash_mismatch", "unmarked", "untracked", "stuck",
        "sync_failed", "stale_failure", "stale_hash", "hash_unknown", "unverifiable",
        "external_only",
    }
)  # fmt: skip


def needed_stores(kind: str, backend: str | None, whole: Collection[str]) -> list[str]:
    """The stores that must be seen whole before not finding it any more means that it is gone.

    Args:
        kind: the finding's.
        backend: the finding's, None where it belongs to no one store.
        whole: the stores that the run which found it saw whole.
    """
    needed = {Backend.NEON.value} | ({backend} if backend else set())
    return sorted(needed if kind in _ONE_STORE else needed | set(whole))


def filled(template: str, **names: object) -> str:
    """A kind's ``next_step`` with the names of what it is about; those that are not known stay."""
    for name, value in names.items():
        if value:
            # It may become part of a command that a person copies into a shell.
            template = template.replace(f"{{{name}}}", shlex.quote(str(value)))
    return template
