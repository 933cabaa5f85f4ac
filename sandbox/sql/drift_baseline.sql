-- What an audit finds without any damage: objects without an edge, and edges without a hash. A
-- back-fill that does not read bytes leaves the latter, one that does not look at the canister
-- the former.
WITH object AS (
    SELECT memory_id, memory_type, 'metadata'::artifact_t AS artifact, 'neon-db'::backend_t AS backend
    FROM memory_row
    UNION ALL
    SELECT memory_id, memory_type, 'asset', 'neon-db' FROM memory_row WHERE memory_type = 'note'
    UNION ALL
    SELECT m.memory_id, m.memory_type, 'asset', 'vercel-blob'
    FROM memory_row AS m JOIN blob_object AS o ON o.url = m.url
    UNION ALL
    SELECT m.memory_id, m.memory_type, a.artifact::artifact_t, 'icp-canister'
    FROM memory_row AS m
    JOIN canister_memory AS c ON c.memory_id = m.memory_id::text
    JOIN (VALUES ('metadata'), ('asset')) AS a (artifact)
        ON a.artifact = 'metadata' OR c.original IN ('inline', 'internal')
)
SELECT
    CASE WHEN e.id IS NULL THEN 'untracked' ELSE 'hash_unknown' END AS kind,
    o.memory_id::text, o.memory_type::text, o.artifact::text, o.backend::text
FROM object AS o
LEFT JOIN storage_edges AS e
    ON e.memory_id = o.memory_id AND e.memory_type = o.memory_type
   AND e.artifact = o.artifact AND e.backend = o.backend
WHERE e.id IS NULL OR (e.artifact = 'asset' AND e.present AND e.content_hash IS NULL);
