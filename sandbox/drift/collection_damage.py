"""Damage that only the whole collection shows: contents held twice, galleries, their items."""

from dataclasses import replace

from psycopg import sql

from sandbox.dataset import make_uuid
from sandbox.drift.bench import Bench
from sandbox.drift.findings import Finding
from sandbox.drift.ledger_damage import HAS_FILE, NOT_ON_ICP
from sandbox.drift.object_damage import object_of
from sandbox.drift.registry import damages


@damages("duplicate_content")
def _same_file_uploaded_twice(bench: Bench) -> bool:
    """The ledger is right about both of them."""
    where = f"hashed AND {NOT_ON_ICP} AND {HAS_FILE}"
    first = bench.pick(where)
    second = bench.pick(where) if first else None
    if first is None or second is None:
        return False
    file, place = object_of(bench, first), object_of(bench, second)
    again = replace(place, size=file.size, etag=file.etag, body=file.body)
    bench.later.append(lambda: bench.blob.replace(again))
    row = bench.database.execute(
        "SELECT content_hash FROM storage_edges WHERE memory_id = %s AND artifact = 'asset'",
        (first.memory_id,),
    ).fetchone()
    sha256 = row[0] if row else None
    bench.update_edge(second.blob, "content_hash = %s, size_bytes = %s", sha256, file.size)
    bench.findings.append(Finding("duplicate_content", location=f"sha256:{sha256}"))
    return True


@damages("gallery_divergence")
def _item_lost_on_the_canister(bench: Bench) -> bool:
    gallery = bench.pick_gallery()
    if gallery is None:
        return False
    shorter = replace(gallery, items=gallery.items[1:])
    bench.later.append(lambda: bench.canister.replace_gallery(shorter))
    bench.findings.append(Finding("gallery_divergence", gallery_id=gallery.id))
    return True


@damages("gallery_divergence")
def _order_changed_on_the_canister(bench: Bench) -> bool:
    gallery = bench.pick_gallery()
    if gallery is None:
        return False
    first, second, *others = gallery.items
    turned = ((*first[:2], second[2], first[3]), (*second[:2], first[2], second[3]), *others)
    other = replace(gallery, items=tuple(turned))
    bench.later.append(lambda: bench.canister.replace_gallery(other))
    bench.findings.append(Finding("gallery_divergence", gallery_id=gallery.id))
    return True


@damages("dangling_item")
def _item_of_nothing_in_neon(bench: Bench) -> bool:
    tables = bench.directory.tables
    galleries = sql.SQL("SELECT id::text FROM {} ORDER BY id").format(
        sql.Identifier(tables.galleries)
    )
    ids = [row[0] for row in bench.database.execute(galleries).fetchall()]
    if not ids:
        return False
    gallery_id, memory_id = bench.rng.choice(ids), make_uuid(bench.rng)
    insert = sql.SQL(
        "INSERT INTO {} (id, gallery_id, memory_id, memory_type, position) "
        "VALUES (%s, %s, %s, 'image', 999)"
    ).format(sql.Identifier(tables.gallery_items))
    bench.sql(insert, make_uuid(bench.rng), gallery_id, memory_id)
    bench.findings.append(Finding("dangling_item", memory_id, "image", gallery_id=gallery_id))
    return True


@damages("dangling_item")
def _item_of_nothing_on_the_canister(bench: Bench) -> bool:
    gallery = bench.pick_gallery()
    if gallery is None:
        return False
    memory_id = make_uuid(bench.rng)
    longer = replace(gallery, items=(*gallery.items, (memory_id, "Image", 999, None)))
    bench.later.append(lambda: bench.canister.replace_gallery(longer))
    bench.findings.append(Finding("dangling_item", memory_id, "image", gallery_id=gallery.id))
    return True
