-- name: gallery
-- What a gallery's memories add up to, from the view or from its query.
SELECT * FROM {presence} AS p WHERE p.gallery_id = ANY({ids}) LIMIT 1;

-- name: memory
-- Where one memory's artifacts are.
SELECT * FROM {presence} AS p
WHERE p.memory_id = ANY({ids}) AND p.memory_type::text = %(memory_type)s
LIMIT 1;

-- name: exists
-- Whether one of the app's tables has a row with this id.
SELECT EXISTS (SELECT FROM {table} AS t WHERE t.{id} = ANY({ids}));

-- name: tracked
-- Whether the ledger has any edge of a memory.
SELECT EXISTS (
    SELECT FROM {edges} AS e
    WHERE e.memory_id = ANY({ids}) AND e.memory_type::text = %(memory_type)s);

-- name: tracked_types
-- Under which types the ledger has edges of a memory.
SELECT DISTINCT e.memory_type::text FROM {edges} AS e WHERE e.memory_id = ANY({ids});

-- name: syncs
-- What is being copied or has failed, by key, page by page.
SELECT s.*
FROM {presence} AS s
WHERE (%(sync_state)s::text IS NULL OR s.sync_state::text = %(sync_state)s)
    AND (%(backend)s::text IS NULL OR s.backend::text = %(backend)s)
    AND (%(memory_type)s::text IS NULL OR s.memory_type::text = %(memory_type)s)
    AND (%(stuck)s::boolean IS NULL OR s.is_stuck = %(stuck)s)
    AND (%(after)s::text[] IS NULL
        OR ARRAY[s.memory_id::text, s.memory_type::text, s.artifact::text, s.backend::text]
            > %(after)s::text[])
ORDER BY s.memory_id::text, s.memory_type::text, s.artifact::text, s.backend::text
LIMIT %(limit)s;

-- name: edges
-- The ledger's rows, by id, page by page; with a memory given its index serves.
SELECT e.*
FROM {edges} AS e
WHERE {memory}
    AND (%(memory_type)s::text IS NULL OR e.memory_type::text = %(memory_type)s)
    AND (%(artifact)s::text IS NULL OR e.artifact::text = %(artifact)s)
    AND (%(backend)s::text IS NULL OR e.backend::text = %(backend)s)
    AND (%(present)s::boolean IS NULL OR e.present = %(present)s)
    AND (%(sync_state)s::text IS NULL OR e.sync_state::text = %(sync_state)s)
    AND (%(after)s::text IS NULL OR e.id > %(after)s::{id_type})
ORDER BY e.id
LIMIT %(limit)s;

-- name: locked_edge
-- One edge as it is, held until the transaction ends.
SELECT e.id::text AS id, e.sync_state::text AS sync_state, to_jsonb(e) AS before
FROM {edges} AS e
WHERE e.memory_id = ANY({ids}) AND e.memory_type::text = %(memory_type)s
    AND e.artifact::text = %(artifact)s AND e.backend::text = %(backend)s
FOR UPDATE;

-- name: insert_edge
-- A new edge, unless another writer was first.
INSERT INTO {edges} AS e (
    memory_id, memory_type, artifact, backend, present, location, content_hash, size_bytes,
    sync_state, last_synced_at, sync_error)
SELECT %(memory_id)s::{memory_id_type}, %(memory_type)s::{memory_type_type},
    %(artifact)s::{artifact_type}, %(backend)s::{backend_type}, coalesce(p.present, false),
    p.location, p.content_hash, p.size_bytes, coalesce(p.sync_state, 'idle'), p.last_synced_at,
    p.sync_error
FROM jsonb_populate_record(NULL::{edges}, %(new)s::jsonb) AS p
ON CONFLICT (memory_id, memory_type, artifact, backend) DO NOTHING
RETURNING e.*, to_jsonb(e) AS after;

-- name: update_edge
-- The fields that were given, written to an edge that is locked; the others stay as they are.
UPDATE {edges} AS e
SET (present, location, content_hash, size_bytes, sync_state, last_synced_at, sync_error) = (
    SELECT p.present, p.location, p.content_hash, p.size_bytes, p.sync_state, p.last_synced_at,
        p.sync_error
    FROM jsonb_populate_record(e, %(new)s::jsonb) AS p)
WHERE e.id = %(id)s::{id_type}
RETURNING e.*, to_jsonb(e) AS after;

-- name: journal
-- The write with the row before and after, so that it can be reverted as a run's.
INSERT INTO audit.repair (run_id, kind, edge_id, action, before, after)
VALUES (%(run_id)s, 'api', %(edge_id)s, %(action)s, %(before)s, %(after)s);
