-- name: record
-- Findings of a run. One that was resolved and comes back begins anew; a resumed run counts once.
INSERT INTO audit.finding AS f (
    fingerprint, kind, severity, memory_id, memory_type, artifact, backend, location, gallery_id,
    first_seen, last_seen, runs_seen, complete_runs_seen, first_run_id, last_run_id, first_doc, doc,
    needs)
SELECT n.fingerprint, n.kind, n.severity, n.memory_id, n.memory_type, n.artifact, n.backend,
    n.location, n.gallery_id, %(at)s, %(at)s, 1, %(complete)s, %(run_id)s, %(run_id)s, n.doc, n.doc,
    n.needs
FROM jsonb_to_recordset(%(findings)s::jsonb) AS n(
    fingerprint text, kind text, severity text, memory_id text, memory_type text, artifact text,
    backend text, location text, gallery_id text, doc jsonb, needs text[])
ON CONFLICT (fingerprint) DO UPDATE SET
    severity = excluded.severity,
    last_seen = excluded.last_seen,
    last_run_id = excluded.last_run_id,
    doc = excluded.doc,
    needs = excluded.needs,
    first_seen = CASE WHEN f.resolved_at IS NULL THEN f.first_seen ELSE excluded.first_seen END,
    first_run_id = CASE WHEN f.resolved_at IS NULL THEN f.first_run_id ELSE excluded.first_run_id END,
    first_doc = CASE WHEN f.resolved_at IS NULL THEN f.first_doc ELSE excluded.first_doc END,
    runs_seen = CASE
        WHEN f.resolved_at IS NOT NULL THEN 1
        WHEN f.last_run_id = excluded.last_run_id THEN f.runs_seen
        ELSE f.runs_seen + 1 END,
    complete_runs_seen = CASE
        WHEN f.resolved_at IS NOT NULL THEN excluded.complete_runs_seen
        WHEN f.last_run_id = excluded.last_run_id THEN f.complete_runs_seen
        ELSE f.complete_runs_seen + excluded.complete_runs_seen END,
    resolved_at = NULL,
    resolved_run_id = NULL
RETURNING f.fingerprint, f.first_seen, f.last_seen, f.runs_seen, f.complete_runs_seen;

-- name: resolve
-- Findings that a run looked for and did not find any more: it has seen the stores whole that they
-- rest on. What only the bytes had shown is gone if they were read again, or if something else is
-- said of the same edge now.
UPDATE audit.finding AS f SET resolved_at = %(at)s, resolved_run_id = %(run_id)s
WHERE resolved_at IS NULL
    AND last_run_id <> %(run_id)s
    AND coalesce(needs, ARRAY(SELECT b FROM unnest(ARRAY['neon-db', backend]) AS b WHERE b IS NOT NULL))
        <@ %(whole)s::text[]
    AND fingerprint <> ALL(%(keep)s::text[])
    AND (doc ->> 'evidence' IS DISTINCT FROM 'sha256'
        OR memory_id IS NULL
        OR EXISTS (
            SELECT FROM audit.verification AS v
            WHERE (v.memory_id, v.memory_type) = (f.memory_id, f.memory_type)
                AND (f.backend IS NULL OR v.backend = f.backend)
                AND v.run_id = %(run_id)s)
        OR EXISTS (
            SELECT FROM audit.finding AS g
            WHERE (g.memory_id, g.memory_type, g.artifact, g.backend)
                    = (f.memory_id, f.memory_type, f.artifact, f.backend)
                AND g.last_run_id = %(run_id)s))
RETURNING fingerprint;

-- name: known
-- One finding, whether it is open or was resolved.
SELECT severity, first_seen, runs_seen, last_seen, resolved_at, last_run_id, doc
FROM audit.finding
WHERE fingerprint = %(fingerprint)s;
