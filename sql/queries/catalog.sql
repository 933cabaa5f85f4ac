-- name: tables
-- Every table or view with one of the names that we may have to do with: whether an unqualified
-- name finds it, whether we may read it and lock its rows, whether row security hides rows from us,
-- and its columns with their types, whether they may be null, and whether something fills them.
SELECT
    n.nspname AS schema,
    c.relname AS name,
    c.relkind::text AS kind,
    c.relispopulated AS populated,
    pg_table_is_visible(c.oid) AS visible,
    has_table_privilege(c.oid, 'SELECT') AS readable,
    has_any_column_privilege(c.oid, 'UPDATE') AS lockable,
    row_security_active(c.oid) AS filtered,
    columns.names,
    columns.types,
    columns.required,
    columns.defaulted
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(a.attname::text ORDER BY a.attnum), ARRAY[]::text[]) AS names,
        coalesce(array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum), ARRAY[]::text[])
            AS types,
        coalesce(array_agg(a.attnotnull ORDER BY a.attnum), ARRAY[]::boolean[]) AS required,
        coalesce(
            array_agg(a.atthasdef OR a.attidentity <> '' ORDER BY a.attnum), ARRAY[]::boolean[]
        ) AS defaulted
    FROM pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS columns
WHERE c.relname = ANY(%(names)s)
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND n.nspname NOT LIKE 'pg\_temp\_%%'
ORDER BY pg_table_is_visible(c.oid) DESC, n.nspname, c.relname;

-- name: has_rows
-- Whether a table has any row at all.
SELECT EXISTS (SELECT FROM {table});
