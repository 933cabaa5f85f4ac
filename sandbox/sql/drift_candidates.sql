-- What the stores hold, filled in by COPY: blob objects, and memories of the canister with the kind
-- of their original asset (inline, internal, external) and whether a gallery there holds them.
CREATE TEMP TABLE blob_object (pathname text, url text) ON COMMIT DROP;
CREATE TEMP TABLE canister_memory (
    memory_id text, capsule_id text, original text, size bigint, in_gallery boolean
) ON COMMIT DROP;
-- split
CREATE INDEX ON blob_object USING hash (url);
CREATE INDEX ON blob_object USING hash (pathname);
CREATE INDEX ON canister_memory USING hash (memory_id);
ANALYZE blob_object, canister_memory;

-- One row for each memory that the app has.
CREATE TEMP TABLE memory_row ON COMMIT DROP AS
SELECT id::uuid AS memory_id, 'image'::memory_type_t AS memory_type, url, false AS has_thumbnail
FROM {image_table}
UNION ALL
SELECT id::uuid, 'video', url, metadata ->> 'thumbnail' IS NOT NULL FROM {video_table}
UNION ALL
SELECT id::uuid, 'note', NULL, false FROM {note_table}
UNION ALL
SELECT id::uuid, 'document', url, false FROM {document_table}
UNION ALL
SELECT id::uuid, 'audio', url, false FROM {audio_table};
CREATE INDEX ON memory_row (memory_id);
ANALYZE memory_row;

-- Memories that may be damaged: ledger and stores agree about them, hashes apart. on_icp says
-- whether the canister has it; hashed, whether every asset edge has a hash and a size.
CREATE TEMP TABLE candidate ON COMMIT DROP AS
WITH edge AS (
    SELECT
        memory_id, memory_type,
        count(*) AS edges,
        bool_and(present AND sync_state = 'idle' AND sync_error IS NULL) AS is_settled,
        bool_and(content_hash IS NOT NULL AND size_bytes IS NOT NULL)
            FILTER (WHERE artifact = 'asset') AS hashed,
        count(*) FILTER (WHERE backend = 'icp-canister') AS icp_edges,
        max(location) FILTER (WHERE backend = 'vercel-blob' AND artifact = 'asset') AS location,
        bool_or(backend = 'neon-db' AND artifact = 'metadata') AS has_row_edge,
        bool_or(backend = (CASE memory_type WHEN 'note' THEN 'neon-db' ELSE 'vercel-blob' END)::backend_t
                AND artifact = 'asset') AS has_asset_edge
    FROM storage_edges
    GROUP BY memory_id, memory_type
)
SELECT
    m.memory_id::text AS memory_id, m.memory_type::text AS memory_type, m.url, m.has_thumbnail,
    o.pathname, e.hashed, c.memory_id IS NOT NULL AS on_icp, c.capsule_id, c.original, c.size,
    coalesce(c.in_gallery, false) AS in_canister_gallery, false AS is_picked,
    md5(m.memory_id::text || '{seed}') AS rank
FROM memory_row AS m
JOIN edge AS e USING (memory_id, memory_type)
LEFT JOIN blob_object AS o ON o.url = m.url
LEFT JOIN canister_memory AS c ON c.memory_id = m.memory_id::text
WHERE e.is_settled AND e.has_row_edge AND e.has_asset_edge
  AND (m.memory_type = 'note' OR o.pathname = e.location)
  AND e.icp_edges = CASE WHEN c.memory_id IS NULL THEN 0 ELSE 2 END
  AND e.edges = 2 + e.icp_edges
  AND (c.memory_id IS NULL OR c.original IN ('inline', 'internal'));
CREATE INDEX ON candidate (rank);
CREATE INDEX ON candidate (memory_id);
ANALYZE candidate;
