"""The columns of everything that is spooled as Parquet: what was expected and what was observed.

Two unsigned 64-bit integers, ``key_hi`` and ``key_lo``, are the key that a table is partitioned and
joined by: the halves of a UUID, or of a 128-bit digest where the natural key is a text. Joins on
them need half the time and memory of joins on 36 characters. Times are UTC in microseconds.
"""

import pyarrow as pa

_KEY = [("key_hi", pa.uint64()), ("key_lo", pa.uint64())]
_TIME = pa.timestamp("us", tz="UTC")

#: One row per edge, keyed by the memory id. ``version`` is the row's ``xmin``.
LEDGER = pa.schema(
    [
        *_KEY,
        ("edge_id", pa.string()),
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("artifact", pa.string()),
        ("backend", pa.string()),
        ("present", pa.bool_()),
        ("location", pa.string()),
        ("content_hash", pa.string()),
        ("size_bytes", pa.int64()),
        ("sync_state", pa.string()),
        ("last_synced_at", _TIME),
        ("sync_error", pa.string()),
        ("created_at", _TIME),
        ("updated_at", _TIME),
        ("version", pa.string()),
    ]
)

#: One row per row of the five memory tables, keyed by the memory id. ``url`` as it stands in the
#: row; ``content_size`` and ``content_sha256`` of a note's text (UTF-8), the latter null unless
#: bytes are verified; ``written_at`` is ``updated_at``, null where that is not kept.
NEON_INVENTORY = pa.schema(
    [
        *_KEY,
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("url", pa.string()),
        ("content_size", pa.int64()),
        ("content_sha256", pa.string()),
        ("created_at", _TIME),
        ("written_at", _TIME),
        ("version", pa.string()),
    ]
)

#: One row per object of the blob store, keyed by the digest of its pathname.
BLOB_INVENTORY = pa.schema(
    [
        *_KEY,
        ("location", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("written_at", _TIME),
    ]
)

#: One row per memory of the canister, keyed by its id as the canister has it. ``asset_there``:
#: whether it has an original asset of its own (not a link); ``asset_count``:
#: how many assets of any kind, links too; ``size`` and ``declared_sha256`` are what the uploader
#: declared of the original.
ICP_INVENTORY = pa.schema(
    [
        *_KEY,
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("capsule_id", pa.string()),
        ("asset_there", pa.bool_()),
        ("asset_count", pa.int64()),
        ("size", pa.int64()),
        ("declared_sha256", pa.string()),
        ("version", pa.string()),
        ("created_at", _TIME),
        ("written_at", _TIME),
    ]
)

#: One row per thing in Neon or the canister that names a blob, keyed by the pathname's digest.
#: ``source`` says what names it: ``memory``, ``thumbnail``, ``user``, ``edge`` or ``canister``.
BLOB_REFERENCES = pa.schema(
    [
        *_KEY,
        ("location", pa.string()),
        ("source", pa.string()),
    ]
)

#: One row per item of a gallery of Neon, keyed by the memory id; its type in lower case.
GALLERY_ITEMS = pa.schema(
    [
        *_KEY,
        ("gallery_id", pa.string()),
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
    ]
)

#: The same held against rows and ledger. ``due``: its memory has a row in Neon that is past its
#: grace period, so that the ledger should know it; ``tracked``: its metadata has an edge in Neon.
TRACKED_ITEMS = pa.schema(
    [
        ("gallery_id", pa.string()),
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("due", pa.bool_()),
        ("tracked", pa.bool_()),
    ]
)

#: One row per copy of an asset that a store was seen to hold. ``verified_at``: when its bytes were
#: last read and were what the ledger says, null where that never was, or was before it was written.
STORED_COPIES = pa.schema(
    [
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("backend", pa.string()),
        ("verified_at", _TIME),
    ]
)

#: What was measured of a run itself and can be judged: ``value`` of ``of`` (a store, a kind of
#: finding, a former run) beside what is ``usual`` (null where nothing is) and the ``limit``.
RUN_MEASURES = pa.schema(
    [
        ("measure", pa.string()),
        ("of", pa.string()),
        ("value", pa.float64()),
        ("usual", pa.float64()),
        ("limit", pa.float64()),
    ]
)

#: The tables that data-quality suites are about, by the names of ``checks.suites.MODULES``.
CHECKED = {
    "ledger": LEDGER,
    "neon-db": NEON_INVENTORY,
    "vercel-blob": BLOB_INVENTORY,
    "icp-canister": ICP_INVENTORY,
    "gallery-items": TRACKED_ITEMS,
    "stored-copies": STORED_COPIES,
    "run": RUN_MEASURES,
}
