-- What else the document defines, as far as Postgres takes it.
CREATE INDEX ix_edges_memory ON storage_edges (memory_id, memory_type);
CREATE INDEX ix_edges_backend_present ON storage_edges (backend, artifact, present);
CREATE INDEX ix_edges_sync_state ON storage_edges (sync_state);
CREATE VIEW memory_presence AS
SELECT
    e.memory_id,
    e.memory_type,
    bool_or(e.backend = 'neon-db' AND e.artifact = 'metadata' AND e.present) AS meta_neon,
    bool_or(e.backend = 'vercel-blob' AND e.artifact = 'asset' AND e.present) AS asset_blob,
    bool_or(e.backend = 'icp-canister' AND e.artifact = 'metadata' AND e.present) AS meta_icp,
    bool_or(e.backend = 'icp-canister' AND e.artifact = 'asset' AND e.present) AS asset_icp
FROM storage_edges AS e
GROUP BY e.memory_id, e.memory_type;
CREATE VIEW gallery_presence AS
SELECT
    gi.gallery_id,
    count(*) AS total_memories,
    sum((mp.meta_icp AND mp.asset_icp)::int) AS icp_complete_memories,
    bool_and(mp.meta_icp AND mp.asset_icp) AS icp_complete,
    bool_or(mp.meta_icp OR mp.asset_icp) AS icp_any
FROM gallery_items AS gi
JOIN memory_presence AS mp
    ON mp.memory_id = gi.memory_id AND mp.memory_type::text = gi.memory_type
GROUP BY gi.gallery_id;
CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END
$$;
CREATE TRIGGER storage_edges_set_updated_at BEFORE UPDATE ON storage_edges
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER galleries_set_updated_at BEFORE UPDATE ON galleries
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE MATERIALIZED VIEW gallery_presence_mv AS SELECT * FROM gallery_presence WITH NO DATA;
CREATE UNIQUE INDEX ix_gallery_presence_mv_id ON gallery_presence_mv (gallery_id);
CREATE FUNCTION refresh_gallery_presence() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    REFRESH MATERIALIZED VIEW CONCURRENTLY gallery_presence_mv;
END
$$;
CREATE VIEW sync_status AS
SELECT memory_id, artifact, backend, sync_state, sync_error, last_synced_at,
    extract(epoch FROM now() - last_synced_at) / 60 AS minutes_since_sync
FROM storage_edges
WHERE sync_state != 'idle' OR sync_error IS NOT NULL;
