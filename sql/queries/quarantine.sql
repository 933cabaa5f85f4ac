-- name: keep
-- An object whose bytes are kept aside; again by the same run it changes what is kept, unless the
-- object is removed already.
INSERT INTO audit.quarantine AS q (run_id, backend, location, version, content_type, size_bytes,
    sha256, kept_at, manifest)
VALUES (%(run_id)s, %(backend)s, %(location)s, %(version)s, %(content_type)s, %(size_bytes)s,
    %(sha256)s, %(kept_at)s, %(manifest)s)
ON CONFLICT (run_id, backend, location) DO UPDATE
SET version = excluded.version, content_type = excluded.content_type,
    size_bytes = excluded.size_bytes, sha256 = excluded.sha256, kept_at = excluded.kept_at,
    manifest = excluded.manifest
WHERE q.purged_at IS NULL;

-- name: removed
-- The object is gone from its store.
UPDATE audit.quarantine SET purged_at = clock_timestamp(), restored_at = NULL
WHERE run_id = %(run_id)s AND backend = %(backend)s AND location = %(location)s;

-- name: restored
-- The object is in its store again.
UPDATE audit.quarantine SET restored_at = clock_timestamp()
WHERE run_id = %(run_id)s AND backend = %(backend)s AND location = %(location)s;

-- name: list
-- What was kept, newest first.
SELECT run_id, backend, location, version, content_type, size_bytes, sha256, kept_at, manifest,
    taken_at, purged_at, restored_at
FROM audit.quarantine
WHERE (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
    AND (%(location)s::text IS NULL OR location = %(location)s)
ORDER BY taken_at DESC, backend, location;

-- name: half_replaced
-- What a canister memory is to be made of anew that was removed to be replaced and is not back yet.
SELECT manifest FROM audit.quarantine
WHERE backend = 'icp-canister' AND location = %(location)s AND manifest ? 'anew'
    AND restored_at IS NULL
ORDER BY taken_at DESC
LIMIT 1;

-- name: settled
-- Nothing of what was begun to be replaced there is left undone.
UPDATE audit.quarantine SET restored_at = clock_timestamp()
WHERE backend = 'icp-canister' AND location = %(location)s AND manifest ? 'anew'
    AND restored_at IS NULL;

-- name: orphaned_since
-- Since when objects have been seen orphaned, in how many complete runs, and what they were then.
SELECT fingerprint, first_seen, complete_runs_seen, last_run_id, first_doc ->> 'observed'
FROM audit.finding
WHERE fingerprint = ANY(%(fingerprints)s) AND resolved_at IS NULL;

-- name: named_by_edges
-- Which of some names of blobs an edge says are there.
SELECT DISTINCT e.location FROM {edges} AS e
WHERE e.backend = 'vercel-blob' AND e.present AND e.location = ANY(%(forms)s);

-- name: recorded_for
-- The memories whose file the ledger says to have a hash, or a size where it has no hash.
SELECT DISTINCT e.memory_id::text, e.memory_type::text
FROM {edges} AS e
WHERE e.artifact = 'asset' AND e.backend <> 'neon-db' AND e.memory_type <> %(note)s
    AND (lower(e.content_hash) = %(sha256)s
        OR e.content_hash IS NULL AND e.size_bytes = %(size)s)
ORDER BY 1, 2;

-- name: expired
-- What was kept long enough: so many days since it was kept, removed from its store, and put back.
-- What a memory is to be made of anew that was removed to be replaced stays until it is back.
DELETE FROM audit.quarantine
WHERE greatest(taken_at, purged_at, restored_at) < clock_timestamp() - make_interval(days => %(days)s)
    AND NOT (manifest ? 'anew' AND restored_at IS NULL)
RETURNING kept_at;
