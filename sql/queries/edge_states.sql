-- name: begin
-- Puts edges into the state migrating: those that are still the row that was observed, and those
-- that are still not there. Journaled; gives each edge's id and the version that it has by now.
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(edges)s::jsonb) AS w(
        ordinal integer, memory_id text, memory_type text, artifact text, backend text,
        edge_id text, version text)
),
current AS MATERIALIZED (
    SELECT w.ordinal, e.id AS row_id, to_jsonb(e) AS before
    FROM wanted AS w
    JOIN {edges} AS e ON e.id = w.edge_id::{id_type}
    WHERE e.xmin::text = w.version
    FOR UPDATE OF e
),
changed AS (
    UPDATE {edges} AS e
    SET sync_state = 'migrating', sync_error = NULL
    FROM current AS c
    WHERE e.id = c.row_id
    RETURNING c.ordinal, c.before, to_jsonb(e) AS after, e.id::text AS edge_id,
        e.xmin::text AS version
),
made AS (
    INSERT INTO {edges} AS e (memory_id, memory_type, artifact, backend, present, sync_state)
    SELECT w.memory_id::{memory_id_type}, w.memory_type::{memory_type_type},
        w.artifact::{artifact_type}, w.backend::{backend_type}, false, 'migrating'
    FROM wanted AS w
    WHERE w.edge_id IS NULL
    ON CONFLICT (memory_id, memory_type, artifact, backend) DO NOTHING
    RETURNING e.memory_id::text, e.memory_type::text, e.artifact::text, e.backend::text,
        to_jsonb(e) AS after, e.id::text AS edge_id, e.xmin::text AS version
),
written AS (
    SELECT ordinal, 'update' AS action, before, after, edge_id, version FROM changed
    UNION ALL
    SELECT w.ordinal, 'insert', NULL, m.after, m.edge_id, m.version
    FROM made AS m
    JOIN wanted AS w ON lower(w.memory_id) = lower(m.memory_id) AND w.memory_type = m.memory_type
        AND w.artifact = m.artifact AND w.backend = m.backend
),
journal AS (
    INSERT INTO audit.repair (run_id, kind, edge_id, action, before, after)
    SELECT %(run_id)s, %(kind)s, edge_id, action, before, after FROM written
)
SELECT ordinal, edge_id, version FROM written;

-- name: finish
-- Takes edges out of the state migrating that nobody has written to since they were put into it.
-- Journaled, under the finding's fingerprint where the copy mended one.
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(edges)s::jsonb) AS w(
        ordinal integer, edge_id text, version text, fingerprint text, new jsonb)
),
current AS MATERIALIZED (
    SELECT w.*, e.id AS row_id, to_jsonb(e) AS before
    FROM wanted AS w
    JOIN {edges} AS e ON e.id = w.edge_id::{id_type}
    WHERE e.xmin::text = w.version AND e.sync_state = 'migrating'
        AND w.new ->> 'sync_state' IN ('idle', 'failed')
    FOR UPDATE OF e
),
changed AS (
    UPDATE {edges} AS e
    SET (present, location, content_hash, size_bytes, sync_state, last_synced_at, sync_error) = (
        SELECT p.present, p.location, p.content_hash, p.size_bytes, p.sync_state,
            p.last_synced_at, p.sync_error
        FROM jsonb_populate_record(e, c.new) AS p)
    FROM current AS c
    WHERE e.id = c.row_id
    RETURNING c.ordinal, c.fingerprint, c.before, to_jsonb(e) AS after, e.id::text AS edge_id
),
journal AS (
    INSERT INTO audit.repair (run_id, fingerprint, kind, edge_id, action, before, after)
    SELECT %(run_id)s, fingerprint, %(kind)s, edge_id, 'update', before, after FROM changed
)
SELECT ordinal FROM changed;
