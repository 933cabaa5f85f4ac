-- A ledger that grew with the app: other order, more columns, other index names, more backends.
CREATE TYPE artifact_t AS ENUM ('asset', 'metadata', 'thumbnail');
CREATE TYPE backend_t AS ENUM ('vercel-blob', 'neon-db', 'icp-canister', 'walrus', 'arweave', 's3');
CREATE TYPE memory_type_t AS ENUM ('image', 'document', 'note', 'video', 'audio', 'folder');
CREATE TYPE sync_t AS ENUM ('idle', 'failed', 'migrating', 'paused');
CREATE TABLE storage_edges (
    backend backend_t NOT NULL,
    artifact artifact_t NOT NULL,
    tenant text DEFAULT 'main' NOT NULL,
    memory_type memory_type_t NOT NULL,
    memory_id uuid NOT NULL,
    dropped integer,
    present boolean DEFAULT false NOT NULL,
    size_bytes bigint,
    content_hash text,
    location text,
    sync_error text,
    sync_state sync_t DEFAULT 'idle' NOT NULL,
    updated_at timestamptz DEFAULT now(),
    created_at timestamptz DEFAULT now(),
    last_synced_at timestamptz,
    retries integer,
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    CONSTRAINT storage_edges_unique UNIQUE (memory_id, memory_type, artifact, backend)
);
ALTER TABLE storage_edges DROP COLUMN dropped;
CREATE INDEX storage_edges_memory_idx ON storage_edges (memory_id, memory_type);
CREATE INDEX storage_edges_state_idx ON storage_edges (sync_state) WHERE sync_state = 'failed';
INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present)
SELECT id, 'image', 'metadata', 'neon-db', true FROM images ORDER BY id LIMIT 3;
