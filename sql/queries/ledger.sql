-- name: journaled
-- Which of some repairs of this run are in the journal already: their commit was not heard of.
SELECT fingerprint, edge_id, action, coalesce(after, before) ->> 'memory_id',
    coalesce(after, before) ->> 'memory_type', coalesce(after, before) ->> 'artifact',
    coalesce(after, before) ->> 'backend'
FROM audit.repair
WHERE run_id = %(run_id)s AND fingerprint = ANY(%(fingerprints)s) AND reverted_at IS NULL;

-- name: update
-- Changes edges that are still what was observed, and journals them. Locking first makes Postgres
-- look again at a row that somebody else was just writing, and drop it here if it changed.
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(repairs)s::jsonb) AS w(
        ordinal integer, fingerprint text, kind text, edge_id text, version text, observed jsonb,
        new jsonb)
),
current AS MATERIALIZED (
    SELECT w.*, e.id AS row_id, to_jsonb(e) AS before
    FROM wanted AS w
    JOIN {edges} AS e ON e.id = w.edge_id::{id_type}
    WHERE e.xmin::text = w.version AND to_jsonb(e) @> w.observed
    FOR UPDATE OF e
),
changed AS (
    UPDATE {edges} AS e
    SET (memory_id, present, location, content_hash, size_bytes, sync_state, last_synced_at,
        sync_error) = (
        SELECT p.memory_id, p.present, p.location, p.content_hash, p.size_bytes, p.sync_state,
            p.last_synced_at, p.sync_error
        FROM jsonb_populate_record(e, c.new) AS p)
    FROM current AS c
    WHERE e.id = c.row_id
    RETURNING c.ordinal, c.fingerprint, c.kind, c.before, to_jsonb(e) AS after, e.id::text AS edge_id
),
journal AS (
    INSERT INTO audit.repair (run_id, fingerprint, kind, edge_id, action, before, after)
    SELECT %(run_id)s, fingerprint, kind, edge_id, 'update', before, after FROM changed
)
SELECT ordinal FROM changed;

-- name: delete
-- Deletes edges that are still what was observed, and journals them.
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(repairs)s::jsonb) AS w(
        ordinal integer, fingerprint text, kind text, edge_id text, version text, observed jsonb)
),
gone AS (
    DELETE FROM {edges} AS e
    USING wanted AS w
    WHERE e.id = w.edge_id::{id_type} AND e.xmin::text = w.version AND to_jsonb(e) @> w.observed
    RETURNING w.ordinal, w.fingerprint, w.kind, to_jsonb(e) AS before, e.id::text AS edge_id
),
journal AS (
    INSERT INTO audit.repair (run_id, fingerprint, kind, edge_id, action, before)
    SELECT %(run_id)s, fingerprint, kind, edge_id, 'delete', before FROM gone
)
SELECT ordinal FROM gone;

-- name: insert
-- Inserts edges where there are still none, and journals them.
WITH wanted AS MATERIALIZED (
    SELECT w.*, w.memory_id::{memory_id_type} AS row_memory_id
    FROM jsonb_to_recordset(%(repairs)s::jsonb) AS w(
        ordinal integer, fingerprint text, kind text, memory_id text, memory_type text,
        artifact text, backend text, new jsonb)
),
made AS (
    INSERT INTO {edges} AS e (
        memory_id, memory_type, artifact, backend, present, location, content_hash, size_bytes,
        sync_state, last_synced_at, sync_error)
    SELECT w.row_memory_id, w.memory_type::{memory_type_type}, w.artifact::{artifact_type},
        w.backend::{backend_type}, coalesce(p.present, false), p.location, p.content_hash,
        p.size_bytes, coalesce(p.sync_state, 'idle'), p.last_synced_at, p.sync_error
    FROM wanted AS w
    CROSS JOIN LATERAL jsonb_populate_record(NULL::{edges}, w.new) AS p
    ON CONFLICT (memory_id, memory_type, artifact, backend) DO NOTHING
    RETURNING e.id::text AS edge_id, e.memory_id, e.memory_type::text, e.artifact::text,
        e.backend::text, to_jsonb(e) AS after
),
matched AS (
    SELECT w.ordinal, w.fingerprint, w.kind, m.edge_id, m.after
    FROM made AS m
    JOIN wanted AS w ON w.row_memory_id = m.memory_id AND w.memory_type = m.memory_type
        AND w.artifact = m.artifact AND w.backend = m.backend
),
journal AS (
    INSERT INTO audit.repair (run_id, fingerprint, kind, edge_id, action, after)
    SELECT %(run_id)s, fingerprint, kind, edge_id, 'insert', after FROM matched
)
SELECT ordinal FROM matched;

-- name: entries
-- A run's journal, newest first, as far as it was not reverted.
SELECT id, action, edge_id, coalesce(cardinality(edge_ids), 1) AS edges
FROM audit.repair
WHERE run_id = %(run_id)s AND reverted_at IS NULL AND id < %(before)s
ORDER BY id DESC
LIMIT %(limit)s;

-- name: revert_update
-- Puts rows back that are still what the repair made of them; updated_at is the revert's.
WITH changed AS (
    UPDATE {edges} AS e
    SET (memory_id, memory_type, artifact, backend, present, location, content_hash, size_bytes,
        sync_state, last_synced_at, sync_error, created_at) = (
        SELECT p.memory_id, p.memory_type, p.artifact, p.backend, p.present, p.location,
            p.content_hash, p.size_bytes, p.sync_state, p.last_synced_at, p.sync_error, p.created_at
        FROM jsonb_populate_record(e, r.before) AS p)
    FROM audit.repair AS r
    WHERE r.id = ANY(%(ids)s) AND r.reverted_at IS NULL AND e.id = r.edge_id::{id_type}
        AND to_jsonb(e) - 'updated_at' = r.after - 'updated_at'
    RETURNING r.id
)
UPDATE audit.repair AS r SET reverted_at = clock_timestamp(), reverted_by = %(by)s
FROM changed AS c WHERE r.id = c.id
RETURNING r.id, 1 AS edges, ARRAY[]::text[];

-- name: revert_insert
-- Takes rows away that are still what the repair inserted.
WITH gone AS (
    DELETE FROM {edges} AS e
    USING audit.repair AS r
    WHERE r.id = ANY(%(ids)s) AND r.reverted_at IS NULL AND e.id = r.edge_id::{id_type}
        AND to_jsonb(e) - 'updated_at' = r.after - 'updated_at'
    RETURNING r.id
)
UPDATE audit.repair AS r SET reverted_at = clock_timestamp(), reverted_by = %(by)s
FROM gone AS g WHERE r.id = g.id
RETURNING r.id, 1 AS edges, ARRAY[]::text[];

-- name: revert_delete
-- Puts rows back that the repair deleted, unless there is a newer edge in their place.
WITH back AS (
    INSERT INTO {edges} AS e
    SELECT p.* FROM audit.repair AS r
    CROSS JOIN LATERAL jsonb_populate_record(NULL::{edges}, r.before) AS p
    WHERE r.id = ANY(%(ids)s) AND r.reverted_at IS NULL
    ON CONFLICT DO NOTHING
    RETURNING e.id::text AS edge_id
)
UPDATE audit.repair AS r SET reverted_at = clock_timestamp(), reverted_by = %(by)s
FROM back AS b WHERE r.edge_id = b.edge_id AND r.id = ANY(%(ids)s)
RETURNING r.id, 1 AS edges, ARRAY[]::text[];

-- name: revert_batch
-- Takes the edges of back-filled batches away that nobody has written since (same row version). What
-- is left of a batch stays in its entry, to be named the next time; what was put back moves to one
-- of its own.
WITH entry AS MATERIALIZED (
    SELECT r.*, n.edge_id AS one
    FROM audit.repair AS r
    CROSS JOIN LATERAL unnest(r.edge_ids) AS n(edge_id)
    WHERE r.id = ANY(%(ids)s) AND r.reverted_at IS NULL
),
gone AS (
    DELETE FROM {edges} AS e USING entry AS n
    WHERE e.id = n.one::{id_type} AND e.xmin::text = n.version
    RETURNING n.id, n.one
),
parts AS (
    SELECT n.id,
        array_agg(n.one) FILTER (WHERE g.one IS NOT NULL) AS put_back,
        array_agg(n.one) FILTER (WHERE g.one IS NULL) AS left_over
    FROM entry AS n
    LEFT JOIN gone AS g ON g.id = n.id AND g.one = n.one
    GROUP BY n.id
),
whole AS (
    UPDATE audit.repair AS r SET reverted_at = clock_timestamp(), reverted_by = %(by)s
    FROM parts AS p
    WHERE r.id = p.id AND p.left_over IS NULL
),
remainder AS (
    UPDATE audit.repair AS r SET edge_ids = p.left_over
    FROM parts AS p
    WHERE r.id = p.id AND p.left_over IS NOT NULL AND p.put_back IS NOT NULL
),
moved AS (
    INSERT INTO audit.repair
        (run_id, kind, edge_ids, version, action, at, reverted_at, reverted_by)
    SELECT r.run_id, r.kind, p.put_back, r.version, r.action, r.at, clock_timestamp(), %(by)s
    FROM parts AS p
    JOIN audit.repair AS r USING (id)
    WHERE p.left_over IS NOT NULL AND p.put_back IS NOT NULL
)
SELECT id, coalesce(cardinality(put_back), 0) AS edges, coalesce(left_over, ARRAY[]::text[])
FROM parts;

-- name: unchanged_batch
-- How many edges of back-filled batches nobody has written since, and which somebody has.
SELECT r.id, count(e.id) AS edges,
    coalesce(array_agg(n.edge_id) FILTER (WHERE e.id IS NULL), ARRAY[]::text[])
FROM audit.repair AS r
CROSS JOIN LATERAL unnest(r.edge_ids) AS n(edge_id)
LEFT JOIN {edges} AS e ON e.id = n.edge_id::{id_type} AND e.xmin::text = r.version
WHERE r.id = ANY(%(ids)s) AND r.reverted_at IS NULL
GROUP BY r.id;

-- name: repaired
-- The findings that a run has repaired, wholly or in part.
SELECT DISTINCT fingerprint
FROM audit.repair
WHERE run_id = %(run_id)s AND fingerprint IS NOT NULL AND reverted_at IS NULL;
