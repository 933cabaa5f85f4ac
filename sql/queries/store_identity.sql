-- name: pinned
-- Which store each backend was when it was first seen.
SELECT backend, identity FROM audit.store_identity;

-- name: pin
-- Pins a store; a pinned one is replaced, which the caller does only when told to.
INSERT INTO audit.store_identity (backend, identity, pinned_by)
VALUES (%(backend)s, %(identity)s, %(run_id)s)
ON CONFLICT (backend) DO UPDATE SET
    identity = excluded.identity, pinned_by = excluded.pinned_by,
    pinned_at = clock_timestamp()
WHERE audit.store_identity.identity IS DISTINCT FROM excluded.identity;

-- name: database_identity
-- What tells this database from any other: the cluster's identifier and the database's own.
SELECT
    (SELECT system_identifier FROM pg_control_system()) || '/'
    || (SELECT oid FROM pg_database WHERE datname = current_database());
