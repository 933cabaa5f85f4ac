-- The document's columns, materialized under the view's own name and refreshed by the app.
CREATE MATERIALIZED VIEW gallery_presence AS
SELECT
    gi.gallery_id,
    count(*) AS total_memories,
    sum((e.backend = 'icp-canister')::int) AS icp_complete_memories,
    bool_and(e.backend = 'icp-canister') AS icp_complete,
    bool_or(e.backend = 'icp-canister') AS icp_any
FROM gallery_items AS gi
LEFT JOIN storage_edges AS e ON e.memory_id = gi.memory_id
GROUP BY gi.gallery_id;
CREATE UNIQUE INDEX gallery_presence_id ON gallery_presence (gallery_id);
