-- name: record
-- What came of every data-quality check of a run; again for the same run changes nothing but it.
INSERT INTO audit.check_result AS c (run_id, check_name, success, severity, observed, unjudged)
SELECT %(run_id)s, r.check_name, r.success, r.severity, r.observed, r.unjudged
FROM jsonb_to_recordset(%(results)s::jsonb) AS r(
    check_name text, success boolean, severity text, observed jsonb, unjudged text)
ON CONFLICT (run_id, check_name) DO UPDATE SET
    success = excluded.success, severity = excluded.severity, observed = excluded.observed,
    unjudged = excluded.unjudged, at = clock_timestamp();

-- name: measured
-- What one check measured in the runs before one, the newest first.
SELECT c.run_id, c.observed -> 'measured'
FROM audit.check_result AS c
WHERE c.check_name = %(check_name)s AND c.run_id < %(run_id)s
    AND jsonb_typeof(c.observed -> 'measured') = 'object'
ORDER BY c.run_id DESC
LIMIT %(number)s;
