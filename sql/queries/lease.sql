-- name: holder
-- Who holds the lease, locked until the end of the transaction, and whether its heartbeat is young.
SELECT run_id, flow, holder, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS age
FROM audit.run
WHERE holds_lease
FOR UPDATE;

-- name: evict
-- Takes the lease from a run that has fallen silent: from here on it can't write any more.
UPDATE audit.run
SET holds_lease = false, status = 'failed', finished_at = clock_timestamp()
WHERE run_id = %(run_id)s AND holds_lease;

-- name: take
-- Gives the lease to a run, new or resumed, with a token larger than any before.
INSERT INTO audit.run AS r
    (run_id, flow, policy, status, heartbeat_at, holds_lease, fencing_token, holder, settings)
VALUES (%(run_id)s, %(flow)s, %(policy)s, 'running', clock_timestamp(), true,
    nextval('audit.fencing_token'), %(holder)s, %(settings)s)
ON CONFLICT (run_id) DO UPDATE
SET status = 'running', policy = excluded.policy, finished_at = NULL, holder = excluded.holder,
    heartbeat_at = clock_timestamp(), holds_lease = true, fencing_token = excluded.fencing_token
RETURNING r.fencing_token;

-- name: beat
-- Says that the holder is alive; no row where it is not the holder any more.
UPDATE audit.run SET heartbeat_at = clock_timestamp()
WHERE run_id = %(run_id)s AND holds_lease AND fencing_token = %(token)s
RETURNING run_id;

-- name: fence
-- Holds the lease in place until the end of the transaction; no row where it was taken over.
SELECT run_id FROM audit.run
WHERE run_id = %(run_id)s AND holds_lease AND fencing_token = %(token)s
FOR SHARE;

-- name: release
-- Ends a run.
UPDATE audit.run
SET holds_lease = false, status = %(status)s, finished_at = clock_timestamp(),
    summary = coalesce(%(summary)s, summary)
WHERE run_id = %(run_id)s AND holds_lease AND fencing_token = %(token)s
RETURNING run_id;
