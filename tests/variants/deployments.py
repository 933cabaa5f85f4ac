"""The table of databases as they are deployed: what is different, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_GALLERY_OBJECTS = frozenset(
    {"gallery_presence", "gallery_presence_mv", "ix_gallery_presence_mv_id"}
)


@dataclass(frozen=True)
class Variant:
    """One database that differs from the document's.

    Attributes:
        name: what is different, in words.
        changes: files of ``changes/`` in the order in which they are made.
        refused: objects that ``schema apply`` leaves to a person.
        blocked: whether nothing can be written before that person has acted.
        remaining: findings that no repair closes, by kind.
        lacking: memory types of which there are no rows here.
        holds_any_id: whether its ledger can hold an id that is no UUID, which is tracked then.
        soak: whether it is left to the long campaigns.
    """

    name: str
    changes: tuple[str, ...] = ()
    refused: frozenset[str] = frozenset()
    blocked: bool = False
    remaining: Mapping[str, int] = field(default_factory=dict)
    lacking: frozenset[str] = frozenset()
    holds_any_id: bool = False
    soak: bool = False


_LEDGER, _TWICE = frozenset({"storage_edges"}), frozenset({"uq_edge", "storage_edges"})

VARIANTS = (
    Variant("as the document has it"),
    Variant("singular names, text ids in capitals or no UUIDs, types as an enum of the app's",
            ("text_ids", "upper_case_ids", "ids_that_are_no_uuids", "enum_memory_type",
             "singular_names"), remaining={"invalid_id": 14}),
    Variant("no times, sizes in the JSON, and a first ledger with half of the columns and values",
            ("early_ledger", "no_updated_at", "no_times", "size_in_metadata", "metadata_jsonb")),
    Variant("times with a zone, columns in camel case, and a ledger in another order",
            ("other_ledger", "times_with_zone", "size_as_number", "camel_case_columns"),
            refused=_LEDGER),
    Variant("no galleries, no users and no recordings", ("no_users", "no_galleries", "no_audio"),
            refused=_GALLERY_OBJECTS, remaining={"unclassified": 3},
            lacking=frozenset({"audio"})),
    Variant("a schema of its own, empty tables left by a renaming, the document's views and trigger",
            ("drizzle_ledger", "document_views", "empty_twins", "schema_of_its_own"),
            refused=frozenset({"sync_status"})),
    Variant("images and items behind views, and a materialized gallery_presence",
            ("drizzle_ledger", "memories_behind_views", "materialized_gallery_presence"),
            refused=_GALLERY_OBJECTS),
    Variant("a ledger of texts over text ids", ("text_ids", "text_ledger"), refused=_LEDGER),
    Variant("edges twice, a column that inserts must fill, and an id without a default",
            ("drizzle_ledger", "edges_twice", "columns_that_inserts_do_not_know"),
            refused=_TWICE, blocked=True),
    Variant("images in partitions", ("partitioned_memories",), soak=True),
    Variant("recordings alone missing", ("no_audio",), remaining={"unclassified": 1},
            lacking=frozenset({"audio"}), soak=True),
    Variant("singular text ids beside a filled early ledger",
            ("early_ledger", "text_ids", "singular_names"), soak=True),
    Variant("singular text ids beside another ledger, without times",
            ("other_ledger", "text_ids", "no_updated_at", "no_times", "singular_names"),
            refused=_LEDGER, soak=True),
    Variant("capitals and no UUIDs beside a ledger of texts",
            ("text_ids", "upper_case_ids", "ids_that_are_no_uuids", "text_ledger"),
            refused=_LEDGER, remaining={"invalid_id": 14}, holds_any_id=True, soak=True),
    Variant("edges twice in a ledger of texts in camel case",
            ("text_ids", "text_ledger", "edges_twice", "camel_case_columns"),
            refused=_TWICE, blocked=True, soak=True),
)  # fmt: skip
