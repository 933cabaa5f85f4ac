-- name: batch
-- The edges of one batch, for the length of its transaction.
CREATE TEMPORARY TABLE backfill_batch (
    row_id {row_id_type} NOT NULL,
    memory_id {memory_id_type} NOT NULL,
    artifact {artifact_type} NOT NULL,
    backend {backend_type} NOT NULL,
    present boolean NOT NULL,
    location text,
    content_hash text,
    size_bytes bigint,
    last_synced_at timestamp
) ON COMMIT DROP;

-- name: fill
-- Takes the batch in.
COPY backfill_batch FROM STDIN (FORMAT csv);

-- name: insert
-- Makes the edges that are not there yet, of memories that still are; one line in the journal holds
-- the ids of all, and the row version by which a revert knows those that nobody wrote to since.
-- A memory is looked up by a subquery that can't become a join: a join may read the whole index of
-- the memories for every batch, and then the back-fill takes longer with the square of their number.
WITH made AS (
    INSERT INTO {edges} AS e (memory_id, memory_type, artifact, backend, present, location,
        content_hash, size_bytes, last_synced_at)
    SELECT b.memory_id, {memory_type}::{memory_type_type}, b.artifact, b.backend, b.present,
        b.location, b.content_hash, b.size_bytes, b.last_synced_at
    FROM backfill_batch AS b
    WHERE (SELECT true FROM {memories} AS m WHERE m.{id} = b.row_id LIMIT 1)
    ON CONFLICT (memory_id, memory_type, artifact, backend) DO NOTHING
    RETURNING e.id::text AS id, e.xmin::text AS version, e.artifact::text, e.backend::text
),
journal AS (
    INSERT INTO audit.repair (run_id, kind, edge_ids, version, action)
    SELECT %(run_id)s, 'backfill', array_agg(id), min(version), 'insert' FROM made
    HAVING count(*) > 0
)
SELECT artifact, backend, count(*) FROM made GROUP BY artifact, backend;

-- name: mark
-- How far a unit has come, kept with what it wrote.
INSERT INTO audit.checkpoint AS c (run_id, stage, state)
VALUES (%(run_id)s, 'fill ' || %(unit)s, %(state)s)
ON CONFLICT (run_id, stage) DO UPDATE SET state = excluded.state, at = clock_timestamp();

-- name: marks
-- How far each unit of a run has come; none where the run was reverted, which has to begin anew.
SELECT substr(c.stage, length('fill ') + 1), c.state
FROM audit.checkpoint AS c
WHERE c.run_id = %(run_id)s AND starts_with(c.stage, 'fill ') AND NOT EXISTS (
    SELECT FROM audit.repair AS r WHERE r.run_id = c.run_id AND r.reverted_at IS NOT NULL
);

-- name: forget_marks
-- All is written: nobody goes on from anywhere.
DELETE FROM audit.checkpoint WHERE run_id = %(run_id)s AND starts_with(stage, 'fill ');
