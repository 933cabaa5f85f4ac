-- name: readings
-- When each replica was last read, what came out, and which hash was last seen to be the ledger's.
SELECT memory_id, memory_type, backend, at AT TIME ZONE 'utc' AS read_at,
    verified_at AT TIME ZONE 'utc' AS verified_at, version AS known_version,
    size_bytes AS known_size, outcome AS known_outcome, verified_sha256,
    verified_version
FROM audit.verification;

-- name: readings_of
-- The same of some memories only.
SELECT memory_id, memory_type, backend, at AT TIME ZONE 'utc' AS read_at,
    verified_at AT TIME ZONE 'utc' AS verified_at, version AS known_version,
    size_bytes AS known_size, outcome AS known_outcome, verified_sha256,
    verified_version
FROM audit.verification
WHERE memory_id = ANY({ids}::text[]);

-- name: record
-- Keeps the last reading of each replica. One that failed leaves what the last one read, and one
-- that failed or differs leaves when it was last good.
INSERT INTO audit.verification AS v
    (memory_id, memory_type, backend, at, method, size_bytes, sha256, md5, version, outcome, run_id,
     verified_at, verified_sha256, verified_version)
SELECT memory_id, memory_type, backend, %(at)s, 'sha256', size_bytes, sha256, md5, version, outcome,
    %(run_id)s, CASE WHEN outcome = 'read' THEN %(at)s END,
    CASE WHEN outcome = 'read' THEN sha256 END, CASE WHEN outcome = 'read' THEN version END
FROM unnest(
    %(memory_id)s::text[], %(memory_type)s::text[], %(backend)s::text[], %(size_bytes)s::bigint[],
    %(sha256)s::text[], %(md5)s::text[], %(version)s::text[], %(outcome)s::text[]
) AS r (memory_id, memory_type, backend, size_bytes, sha256, md5, version, outcome)
ON CONFLICT (memory_id, memory_type, backend) DO UPDATE SET
    at = excluded.at, method = excluded.method, outcome = excluded.outcome,
    run_id = excluded.run_id, size_bytes = coalesce(excluded.size_bytes, v.size_bytes),
    sha256 = coalesce(excluded.sha256, v.sha256), md5 = coalesce(excluded.md5, v.md5),
    version = coalesce(excluded.version, v.version),
    verified_at = coalesce(excluded.verified_at, v.verified_at),
    verified_sha256 = coalesce(excluded.verified_sha256, v.verified_sha256),
    verified_version = coalesce(excluded.verified_version, v.verified_version);
