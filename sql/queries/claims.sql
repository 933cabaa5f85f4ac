-- name: claim
-- Says that a run is copying a memory's artifacts to a store; a claim of a dead run is taken over.
INSERT INTO audit.claim (memory_id, memory_type, backend, run_id)
VALUES (%(memory_id)s, %(memory_type)s, %(backend)s, %(run_id)s)
ON CONFLICT (memory_id, memory_type, backend) DO UPDATE
SET run_id = excluded.run_id, claimed_at = clock_timestamp();

-- name: give_up
-- The run is done with them.
DELETE FROM audit.claim
WHERE memory_id = %(memory_id)s AND memory_type = %(memory_type)s AND backend = %(backend)s
    AND run_id = %(run_id)s;

-- name: claims
-- Every claim, and whether the run behind it is alive: it holds the lease and its heart beats.
SELECT c.memory_id, c.memory_type, c.backend, c.run_id,
    coalesce(r.holds_lease
        AND r.heartbeat_at > clock_timestamp() - make_interval(secs => %(timeout)s), false) AS alive
FROM audit.claim AS c
LEFT JOIN audit.run AS r USING (run_id);
