-- name: kept
-- The upload session of some bytes that may be gone on with.
SELECT session::text, chunk_bytes, sent, blob_id FROM audit.upload
WHERE canister_id = %(canister_id)s AND capsule_id = %(capsule_id)s AND idem = %(idem)s;

-- name: keep
-- Remembers how far an upload has come.
INSERT INTO audit.upload (canister_id, capsule_id, idem, session, chunk_bytes, sent, blob_id)
VALUES (%(canister_id)s, %(capsule_id)s, %(idem)s, %(session)s::numeric, %(chunk_bytes)s, %(sent)s,
    %(blob_id)s)
ON CONFLICT (canister_id, capsule_id, idem) DO UPDATE
SET session = excluded.session, chunk_bytes = excluded.chunk_bytes, sent = excluded.sent,
    blob_id = excluded.blob_id, at = clock_timestamp();

-- name: forget
-- There is nothing to go on with any more.
DELETE FROM audit.upload
WHERE canister_id = %(canister_id)s AND capsule_id = %(capsule_id)s AND idem = %(idem)s;
