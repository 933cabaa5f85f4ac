-- name: enum_values
-- The values of the type that an unqualified name finds; null where it is no enum.
SELECT
    t.typtype = 'e' AS is_enum,
    (SELECT array_agg(v.enumlabel::text ORDER BY v.enumsortorder) FROM pg_enum AS v
     WHERE v.enumtypid = t.oid) AS values
FROM pg_type AS t
WHERE t.typname = %(name)s AND pg_type_is_visible(t.oid);

-- name: indexes
-- The indexes of a table: columns, uniqueness, whether they are whole, and whether one that is not
-- is being built at this moment.
SELECT
    c.relname::text AS name,
    i.indisvalid AS valid,
    i.indisunique AS is_unique,
    EXISTS (
        SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid
    ) AS building,
    i.indpred IS NOT NULL OR i.indexprs IS NOT NULL AS special,
    (SELECT array_agg(a.attname::text ORDER BY k.position)
     FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
     JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE k.position <= i.indnkeyatts) AS columns
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(%(table)s);

-- name: function
-- Source and result of the function without arguments that an unqualified name finds.
SELECT p.prosrc AS source, format_type(p.prorettype, NULL) AS result
FROM pg_proc AS p
WHERE p.proname = %(name)s AND p.pronargs = 0 AND pg_function_is_visible(p.oid);

-- name: trigger
-- The function that a trigger of the ledger calls, whether it is enabled, and its firing type.
SELECT p.proname::text AS function, t.tgenabled::text <> 'D' AS enabled, t.tgtype::int AS type
FROM pg_trigger AS t
JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE t.tgrelid = to_regclass('storage_edges') AND t.tgname = %(name)s AND NOT t.tgisinternal;

-- name: definition
-- How Postgres prints the query of the view that an unqualified name finds.
SELECT pg_get_viewdef(to_regclass(%(name)s));

-- name: reference_view
-- A view of ours, made for the length of a transaction, to compare with what is there.
CREATE TEMPORARY VIEW edgekeeper_reference AS {body};

-- name: view
-- One of our views, new or in place of an older one of ours whose columns it begins with.
CREATE OR REPLACE VIEW {name} AS
{body};

-- name: replace_view
-- For a person: a view in the way whose columns are others.
BEGIN;
DROP {kind} {name};
CREATE VIEW {name} AS
{body};
COMMIT;

-- name: is_twice
-- Whether any edge is there twice.
SELECT EXISTS (
    SELECT FROM storage_edges GROUP BY memory_id, memory_type, artifact, backend HAVING count(*) > 1
) AS twice;

-- name: duplicates
-- For a person: the edges that stand in the way of the unique index.
SELECT memory_id, memory_type, artifact, backend, count(*) FROM storage_edges
GROUP BY 1, 2, 3, 4 HAVING count(*) > 1;

-- name: keep_newest
-- For a person who has looked at them: of each edge the row that was written last stays.
DELETE FROM storage_edges AS older USING storage_edges AS newer
WHERE (older.memory_id, older.memory_type, older.artifact, older.backend)
    = (newer.memory_id, newer.memory_type, newer.artifact, newer.backend)
    AND (coalesce(older.updated_at, '-infinity'), older.ctid)
    < (coalesce(newer.updated_at, '-infinity'), newer.ctid);

-- name: blockers
-- Whom the session that runs a statement is waiting for; nobody, while it works.
SELECT
    b.pid,
    b.application_name,
    b.state,
    date_trunc('second', clock_timestamp() - b.xact_start)::text AS open_for
FROM pg_stat_activity AS a
CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS blocking (pid)
JOIN pg_stat_activity AS b ON b.pid = blocking.pid
WHERE a.datname = current_database() AND a.wait_event_type = 'Lock' AND a.query = %(statement)s;

-- name: reference_columns
-- Names and types of the columns of the view made for comparison.
SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS type
FROM pg_attribute AS a
WHERE a.attrelid = to_regclass('edgekeeper_reference') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum;
