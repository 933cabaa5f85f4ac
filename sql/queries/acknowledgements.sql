-- name: acknowledge
-- A person takes note of a finding as it stands; what was decided about it before stays decided.
INSERT INTO audit.ack AS a
    (fingerprint, until, reason, acknowledged_by, severity, observed, first_seen)
VALUES (%(fingerprint)s, %(until)s, %(reason)s, %(by)s, %(severity)s, %(observed)s, %(first_seen)s)
ON CONFLICT (fingerprint) DO UPDATE SET
    until = excluded.until, reason = excluded.reason, acknowledged_by = excluded.acknowledged_by,
    at = clock_timestamp(), severity = excluded.severity, observed = excluded.observed,
    first_seen = excluded.first_seen
RETURNING at;

-- name: withdraw
-- The finding is as if nobody had taken note of it; what was decided about it stays decided.
UPDATE audit.ack SET until = NULL
WHERE fingerprint = %(fingerprint)s AND until IS NOT NULL
RETURNING fingerprint;

-- name: all
-- Everything that a person said of findings.
SELECT fingerprint, reason, acknowledged_by, at, until, severity, first_seen, observed, decision
FROM audit.ack
WHERE severity IS NOT NULL AND first_seen IS NOT NULL;

-- name: decide
-- A person decides that the ledger is right; until when the finding is quiet stays as it was.
INSERT INTO audit.ack AS a
    (fingerprint, reason, decision, acknowledged_by, severity, observed, first_seen, run_id)
VALUES (%(fingerprint)s, %(reason)s, 'ledger', %(by)s, %(severity)s, %(observed)s, %(first_seen)s,
    %(run_id)s)
ON CONFLICT (fingerprint) DO UPDATE SET
    reason = excluded.reason, decision = excluded.decision,
    acknowledged_by = excluded.acknowledged_by, at = clock_timestamp(),
    severity = excluded.severity, observed = excluded.observed, first_seen = excluded.first_seen,
    run_id = excluded.run_id;

-- name: decided
-- The decisions about findings that were not gone in the meantime.
SELECT a.fingerprint, a.reason, a.acknowledged_by, a.at, a.until, a.severity, a.first_seen,
    a.observed, a.decision
FROM audit.ack AS a
JOIN audit.finding AS f USING (fingerprint)
WHERE a.decision IS NOT NULL AND f.resolved_at IS NULL AND f.first_seen = a.first_seen;

-- name: take_back
-- What was decided under a run is decided no longer.
UPDATE audit.ack SET decision = NULL, run_id = NULL
WHERE run_id = %(run_id)s AND decision IS NOT NULL
RETURNING fingerprint;
