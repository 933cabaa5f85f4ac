-- name: verified_at
-- When the bytes of each replica were last read and equal to what the ledger said.
SELECT memory_id, memory_type, backend, at AT TIME ZONE 'utc' AS verified_at
FROM audit.verification
WHERE outcome = 'read';

-- name: coverage
-- How many replicas were ever verified, and the oldest of their last verifications.
SELECT count(*), min(at) FROM audit.verification WHERE outcome = 'read';

-- name: record
-- Keeps the last reading of each replica.
INSERT INTO audit.verification
    (memory_id, memory_type, backend, location, at, method, size_bytes, sha256, md5, version,
     outcome, run_id)
SELECT memory_id, memory_type, backend, NULL, %(at)s, 'sha256', size_bytes, sha256, md5, version,
       outcome, %(run_id)s
FROM unnest(
    %(memory_id)s::text[], %(memory_type)s::text[], %(backend)s::text[], %(size_bytes)s::bigint[],
    %(sha256)s::text[], %(md5)s::text[], %(version)s::text[], %(outcome)s::text[]
) AS read (memory_id, memory_type, backend, size_bytes, sha256, md5, version, outcome)
ON CONFLICT (memory_id, memory_type, backend) DO UPDATE SET
    at = excluded.at, method = excluded.method, size_bytes = excluded.size_bytes,
    sha256 = excluded.sha256, md5 = excluded.md5, version = excluded.version,
    outcome = excluded.outcome, run_id = excluded.run_id;
