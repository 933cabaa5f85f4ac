-- name: design_schema
-- A place for the views of the design document beside ours.
CREATE SCHEMA design;

-- name: design_memory_presence
-- As the document has it.
CREATE VIEW design.memory_presence AS
SELECT
    e.memory_id,
    e.memory_type,
    bool_or(e.backend = 'neon-db' AND e.artifact = 'metadata' AND e.present) AS meta_neon,
    bool_or(e.backend = 'vercel-blob' AND e.artifact = 'asset' AND e.present) AS asset_blob,
    bool_or(e.backend = 'icp-canister' AND e.artifact = 'metadata' AND e.present) AS meta_icp,
    bool_or(e.backend = 'icp-canister' AND e.artifact = 'asset' AND e.present) AS asset_icp
FROM storage_edges AS e
GROUP BY e.memory_id, e.memory_type;

-- name: design_gallery_presence
-- As the document has it, but for two places where Postgres refuses that: its outer SELECT names an
-- alias of the inner one, and an enum is compared with a text.
CREATE VIEW design.gallery_presence AS
WITH m AS (
    SELECT gi.gallery_id, mp.*
    FROM gallery_items AS gi
    JOIN design.memory_presence AS mp
        ON mp.memory_id = gi.memory_id AND mp.memory_type::text = gi.memory_type
)
SELECT
    gallery_id,
    count(*) AS total_memories,
    sum((m.meta_icp AND m.asset_icp)::int) AS icp_complete_memories,
    bool_and(m.meta_icp AND m.asset_icp) AS icp_complete,
    bool_or(m.meta_icp OR m.asset_icp) AS icp_any
FROM m
GROUP BY gallery_id;
