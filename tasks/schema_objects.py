"""What the schema consists of, in the order in which it can be made."""

from collections.abc import Mapping
from functools import partial

from tasks import schema_ledger as ledger
from tasks import schema_views as views
from tasks.app_tables import EDGE_TABLE
from tasks.schema_status import SchemaObject


def _objects() -> Mapping[str, SchemaObject]:
    """All objects in the order in which they can be made."""
    enums = [SchemaObject(name, "enum", partial(ledger.enum, name)) for name in ledger.ENUMS]
    indexes = [SchemaObject(name, "index", partial(ledger.index, name)) for name in ledger.INDEXES]
    names = ("memory_presence", "gallery_presence", "sync_status")
    ordered = [
        *enums,
        SchemaObject(EDGE_TABLE, "table", ledger.table),
        *indexes,
        SchemaObject("edgekeeper_touch_updated_at", "function", ledger.touch_function),
        SchemaObject("storage_edges_set_updated_at", "trigger", ledger.trigger),
        *(SchemaObject(name, "view", partial(views.view, name)) for name in names),
        SchemaObject("gallery_presence_mv", "materialized view", views.copy),
        SchemaObject("ix_gallery_presence_mv_id", "index", views.copy_index),
        SchemaObject("refresh_gallery_presence", "function", views.refresh_function),
    ]
    return {each.name: each for each in ordered}


OBJECTS = _objects()
