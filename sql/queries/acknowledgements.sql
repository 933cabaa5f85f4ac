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
