-- name: owner_gone
-- Rows whose owner is not among the app's users: how many, and some of them.
SELECT count(*), (array_agg(m.{id}::text ORDER BY m.{id}))[1:5]
FROM {table} AS m
WHERE NOT EXISTS (SELECT FROM {owners} AS o WHERE o.{owner_key}::text = m.{owner_id}::text);

-- name: sizes
-- What the rows say of their files' sizes, beside what the ledger has seen: a size that is another
-- one, one that is no number, and one that only the JSON holds. Comparisons are of numbers, so that
-- 7 and 7.0 are the same.
SELECT kind, count(*), (array_agg(id ORDER BY id))[1:5]
FROM (
    SELECT
        said.id,
        CASE
            WHEN said.size IS NOT NULL AND said.number IS NULL THEN 'size_unreadable'
            WHEN coalesce(said.number, said.json_number) <> e.size_bytes THEN 'size_wrong'
            WHEN said.size IS NULL AND said.json_number IS NOT NULL THEN 'size_only_in_metadata'
        END AS kind
    FROM (
        SELECT
            texts.*,
            CASE WHEN texts.size ~ '^\s*[0-9]{{1,18}}(\.0*)?\s*$' THEN texts.size::numeric END
                AS number,
            texts.json_size::numeric AS json_number
        FROM (
            SELECT m.{id}::text AS id, {size} AS size, {json_size} AS json_size FROM {table} AS m
        ) AS texts
    ) AS said
    LEFT JOIN {edges} AS e ON e.memory_id::text = lower(said.id)
        AND e.memory_type::text = {memory_type} AND e.artifact::text = 'asset'
        AND e.backend::text = 'vercel-blob' AND e.present
) AS judged
WHERE kind IS NOT NULL
GROUP BY kind;

-- name: json_size
-- The size that a JSON text holds. It is searched for, not parsed: no text, however broken, may end
-- the survey of all.
substring(m.{metadata}::text FROM '"size[\\]?"\s*:\s*[\\]?"?([0-9]{{1,18}})[^0-9]')
