-- name: memory_presence
-- Where each memory's artifacts are. Backends are compared as text, so that the view holds while
-- the enum lacks a value. placement: Migrating or Failed while any edge is; Both where ICP has it
-- all and the web's stores have something; ICPOnly, Web2Only; null where nothing is anywhere.
SELECT
    p.memory_id,
    p.memory_type,
    p.meta_neon,
    p.asset_blob,
    p.meta_icp,
    p.asset_icp,
    p.asset_walrus,
    p.asset_arweave,
    p.asset_neon,
    CASE
        WHEN p.migrating THEN 'Migrating'
        WHEN p.failed THEN 'Failed'
        WHEN p.meta_icp AND p.asset_icp AND p.on_web THEN 'Both'
        WHEN p.on_web THEN 'Web2Only'
        WHEN p.meta_icp OR p.asset_icp THEN 'ICPOnly'
    END AS placement
FROM (
    SELECT
        e.memory_id,
        e.memory_type,
        bool_or(e.backend::text = 'neon-db' AND e.artifact::text = 'metadata' AND e.present)
            AS meta_neon,
        bool_or(e.backend::text = 'vercel-blob' AND e.artifact::text = 'asset' AND e.present)
            AS asset_blob,
        bool_or(e.backend::text = 'icp-canister' AND e.artifact::text = 'metadata' AND e.present)
            AS meta_icp,
        bool_or(e.backend::text = 'icp-canister' AND e.artifact::text = 'asset' AND e.present)
            AS asset_icp,
        bool_or(e.backend::text = 'walrus' AND e.artifact::text = 'asset' AND e.present)
            AS asset_walrus,
        bool_or(e.backend::text = 'arweave' AND e.artifact::text = 'asset' AND e.present)
            AS asset_arweave,
        bool_or(e.backend::text = 'neon-db' AND e.artifact::text = 'asset' AND e.present)
            AS asset_neon,
        bool_or(e.backend::text IN ('neon-db', 'vercel-blob') AND e.present) AS on_web,
        bool_or(e.sync_state::text = 'migrating') AS migrating,
        bool_or(e.sync_state::text = 'failed') AS failed
    FROM storage_edges AS e
    GROUP BY e.memory_id, e.memory_type
) AS p;

-- name: gallery_presence
-- What each gallery's memories add up to. The edges of each item are looked up one by one, by the
-- index on memory_id, so that the cost of one gallery grows with the gallery and not with the
-- ledger; an item without edges gets a row of "nowhere" from the aggregate, and so counts.
SELECT
    g.gallery_id,
    g.total_memories,
    g.icp_complete_memories,
    g.icp_complete,
    g.icp_any,
    g.standard_complete,
    g.has_walrus,
    g.has_arweave,
    CASE
        WHEN g.icp_complete THEN 'stored_forever'
        WHEN NOT g.each_complete THEN 'incomplete'
        WHEN g.icp_any THEN 'partially_on_icp'
        ELSE 'standard_storage'
    END AS storage_status,
    CASE
        WHEN g.migrating THEN 'Migrating'
        WHEN g.failed THEN 'Failed'
        WHEN g.icp_complete AND g.on_web THEN 'Both'
        WHEN g.on_web THEN 'Web2Only'
        WHEN g.icp_any THEN 'ICPOnly'
    END AS placement
FROM (
    SELECT
        i.{gallery_id} AS gallery_id,
        count(*) AS total_memories,
        sum((p.meta_icp AND p.asset_icp)::int) AS icp_complete_memories,
        bool_and(p.meta_icp AND p.asset_icp) AS icp_complete,
        bool_or(p.meta_icp OR p.asset_icp) AS icp_any,
        bool_and(p.meta_neon AND p.asset_web) AS standard_complete,
        bool_and((p.meta_icp AND p.asset_icp) OR (p.meta_neon AND p.asset_web)) AS each_complete,
        bool_or(p.walrus) AS has_walrus,
        bool_or(p.arweave) AS has_arweave,
        bool_or(p.on_web) AS on_web,
        bool_or(p.migrating) AS migrating,
        bool_or(p.failed) AS failed
    FROM {gallery_items} AS i
    CROSS JOIN LATERAL (
        SELECT
            coalesce(bool_or(e.present AND e.backend::text = 'neon-db'
                AND e.artifact::text = 'metadata'), false) AS meta_neon,
            coalesce(bool_or(e.present AND e.backend::text IN ('neon-db', 'vercel-blob')
                AND e.artifact::text = 'asset'), false) AS asset_web,
            coalesce(bool_or(e.present AND e.backend::text = 'icp-canister'
                AND e.artifact::text = 'metadata'), false) AS meta_icp,
            coalesce(bool_or(e.present AND e.backend::text = 'icp-canister'
                AND e.artifact::text = 'asset'), false) AS asset_icp,
            coalesce(bool_or(e.present AND e.backend::text = 'walrus'), false) AS walrus,
            coalesce(bool_or(e.present AND e.backend::text = 'arweave'), false) AS arweave,
            coalesce(bool_or(e.present AND e.backend::text IN ('neon-db', 'vercel-blob')), false)
                AS on_web,
            coalesce(bool_or(e.sync_state::text = 'migrating'), false) AS migrating,
            coalesce(bool_or(e.sync_state::text = 'failed'), false) AS failed
        FROM storage_edges AS e
        WHERE e.memory_id = {item_memory_id}
            AND e.memory_type::text = i.{memory_type}::text
    ) AS p
    GROUP BY i.{gallery_id}
) AS g;

-- name: item_id_as_uuid
-- A text id that is no UUID has no edges; it must not break the view for everybody.
CASE WHEN i.{memory_id} ~* '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$'
    THEN i.{memory_id}::uuid END;

-- name: sync_status
-- What is being copied or has failed, and what has been copying for too long.
SELECT
    e.memory_id,
    e.memory_type,
    e.artifact,
    e.backend,
    e.sync_state,
    e.sync_error,
    e.last_synced_at,
    extract(epoch FROM {now} - e.last_synced_at) / 60 AS minutes_since_sync,
    e.updated_at,
    coalesce(
        e.sync_state::text = 'migrating'
            AND coalesce(e.updated_at, e.created_at) < {now} - interval '30 minutes',
        false
    ) AS is_stuck
FROM storage_edges AS e
WHERE e.sync_state::text <> 'idle' OR e.sync_error IS NOT NULL;

-- name: gallery_presence_mv
-- A filled-in-advance copy of gallery_presence for an app with much traffic.
CREATE MATERIALIZED VIEW gallery_presence_mv AS SELECT * FROM gallery_presence WITH NO DATA;

-- name: replace_gallery_presence_mv
-- For a person: the copy again, with the view's columns of today. Readers wait until it is filled.
BEGIN;
DROP MATERIALIZED VIEW gallery_presence_mv;
CREATE MATERIALIZED VIEW gallery_presence_mv AS SELECT * FROM gallery_presence;
CREATE UNIQUE INDEX ix_gallery_presence_mv_id ON gallery_presence_mv (gallery_id);
COMMIT;

-- name: replace_empty_gallery_presence_mv
-- A copy that was never filled can be read by nobody, so that it may simply be made again.
DROP MATERIALIZED VIEW gallery_presence_mv;
CREATE MATERIALIZED VIEW gallery_presence_mv AS SELECT * FROM gallery_presence WITH NO DATA;

-- name: ix_gallery_presence_mv_id
-- Refreshing without locking readers out needs a unique index.
CREATE UNIQUE INDEX ix_gallery_presence_mv_id ON gallery_presence_mv (gallery_id);

-- name: refresh_gallery_presence
-- Refreshes the copy; the first time, when there is nothing to read yet, without CONCURRENTLY.
CREATE OR REPLACE FUNCTION refresh_gallery_presence() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT relispopulated FROM pg_class WHERE oid = 'gallery_presence_mv'::regclass) THEN
        REFRESH MATERIALIZED VIEW CONCURRENTLY gallery_presence_mv;
    ELSE
        REFRESH MATERIALIZED VIEW gallery_presence_mv;
    END IF;
END
$$;
