-- name: record
-- What came of every data-quality check of a run; again for the same run changes nothing but it.
INSERT INTO audit.check_result AS c (run_id, check_name, success, severity, observed)
SELECT %(run_id)s, r.check_name, r.success, r.severity, r.observed
FROM jsonb_to_recordset(%(results)s::jsonb) AS r(
    check_name text, success boolean, severity text, observed jsonb)
ON CONFLICT (run_id, check_name) DO UPDATE SET
    success = excluded.success, severity = excluded.severity, observed = excluded.observed,
    at = clock_timestamp();
