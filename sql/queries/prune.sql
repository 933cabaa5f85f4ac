-- Rows of former runs that nobody needs any more. `old` is what a person asked for, `oldest` the
-- time for which failures and the journal are kept whatever was asked for.

-- name: journaled
-- The runs whose changes to the ledger or to a store may still be looked up or taken back.
SELECT run_id FROM audit.repair WHERE at >= %(oldest)s
UNION
SELECT run_id FROM audit.quarantine WHERE taken_at >= %(oldest)s;

-- name: check_result
-- Checks that passed long ago, and of the others what is older still. The last runs of each check
-- stay whenever they were: the next one is compared with them.
DELETE FROM audit.check_result AS c
USING (
    SELECT run_id, check_name,
        row_number() OVER (PARTITION BY check_name ORDER BY run_id DESC) AS place
    FROM audit.check_result
) AS ranked
WHERE ranked.run_id = c.run_id AND ranked.check_name = c.check_name AND ranked.place > %(newest)s
    AND (c.at < %(oldest)s OR (c.success AND c.at < %(old)s));

-- name: checkpoint
-- How far runs had come that nobody goes on with.
DELETE FROM audit.checkpoint AS c
WHERE c.at < %(old)s
    AND NOT EXISTS (SELECT FROM audit.run AS r WHERE r.run_id = c.run_id AND r.holds_lease);

-- name: repair
-- The journal of changes that are so old that nobody takes them back.
DELETE FROM audit.repair WHERE at < %(oldest)s;

-- name: finding
-- Findings that were resolved long ago; what is open stays.
DELETE FROM audit.finding WHERE resolved_at < %(oldest)s;

-- name: run
-- Runs of which nothing else is left.
DELETE FROM audit.run AS r
WHERE r.started_at < %(oldest)s AND NOT r.holds_lease
    AND NOT EXISTS (SELECT FROM audit.repair AS j WHERE j.run_id = r.run_id);
