-- name: duplicates
-- Contents that several memories have by the ledger's hashes: how many, their size, how many blob
-- objects and canister copies that makes, and two of the memories. Nothing is saved of no bytes.
SELECT
    {content_hash} AS content_hash,
    count(DISTINCT lower(e.memory_id::text)) AS memories,
    max({size_bytes}) AS size_bytes,
    count(DISTINCT {location}) FILTER (WHERE e.backend::text = 'vercel-blob') AS blob_objects,
    count(DISTINCT lower(e.memory_id::text)) FILTER (WHERE e.backend::text = 'icp-canister')
        AS icp_copies,
    min(e.memory_type::text || ' ' || e.memory_id::text) AS first_memory,
    max(e.memory_type::text || ' ' || e.memory_id::text) AS last_memory
FROM {edges} AS e
WHERE e.artifact::text = 'asset' AND {present} AND {content_hash} ~ '^[0-9a-f]{{64}}$'
GROUP BY 1
HAVING count(DISTINCT lower(e.memory_id::text)) > 1
    AND coalesce(max({size_bytes}), 1) > 0;

-- name: galleries
-- Which of some galleries there are.
SELECT g.{id}::text AS gallery_id FROM {galleries} AS g WHERE g.{id} = ANY({ids});

-- name: every_gallery
-- All galleries.
SELECT g.{id}::text AS gallery_id FROM {galleries} AS g;

-- name: items
-- The items of some galleries, each gallery's in its order.
SELECT i.{gallery_id}::text AS gallery_id, {position} AS position,
    i.{memory_id}::text AS memory_id, i.{memory_type}::text AS memory_type
FROM {items} AS i
WHERE i.{gallery_id} = ANY({ids});

-- name: every_item
-- The items of all galleries.
SELECT i.{gallery_id}::text AS gallery_id, i.{memory_id}::text AS memory_id,
    lower(i.{memory_type}::text) AS memory_type
FROM {items} AS i
WHERE i.{memory_id} IS NOT NULL;

-- name: rowless_items
-- Items of one memory type whose memory has no row, and whether the ledger knows it from elsewhere
-- than the canister: such a memory is gone, any other one may live on the canister alone. Of all
-- galleries, or of one. The ledger is read once at most, not for each item: ids are compared as
-- texts, for which it has no index.
WITH rowless AS MATERIALIZED (
    SELECT DISTINCT lower(i.{gallery_id}::text) AS gallery_id,
        lower(i.{memory_id}::text) AS memory_id, lower(i.{memory_type}::text) AS memory_type
    FROM {items} AS i
    LEFT JOIN {memories} AS m ON lower(m.{id}::text) = lower(i.{memory_id}::text)
    WHERE lower(i.{memory_type}::text) = {wanted} AND m.{id} IS NULL
        AND ({gallery} IS NULL OR lower(i.{gallery_id}::text) = lower({gallery}))
), known AS (
    SELECT DISTINCT r.memory_id
    FROM rowless AS r
    JOIN {edges} AS e ON lower(e.memory_id::text) = r.memory_id
    WHERE e.backend::text <> 'icp-canister'
)
SELECT gallery_id, memory_id, memory_type, known.memory_id IS NOT NULL AS was_in_neon
FROM rowless LEFT JOIN known USING (memory_id);
