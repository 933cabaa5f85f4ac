-- The document's ledger, as its Drizzle schema makes it.
CREATE TYPE artifact_t AS ENUM ('metadata', 'asset');
CREATE TYPE backend_t AS ENUM ('neon-db', 'vercel-blob', 'icp-canister');
CREATE TYPE memory_type_t AS ENUM ('image', 'video', 'note', 'document', 'audio');
CREATE TYPE sync_t AS ENUM ('idle', 'migrating', 'failed');
CREATE TABLE storage_edges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
    memory_id uuid NOT NULL,
    memory_type memory_type_t NOT NULL,
    artifact artifact_t NOT NULL,
    backend backend_t NOT NULL,
    present boolean DEFAULT false NOT NULL,
    location text,
    content_hash text,
    size_bytes bigint,
    sync_state sync_t DEFAULT 'idle' NOT NULL,
    last_synced_at timestamp,
    sync_error text,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);
CREATE UNIQUE INDEX uq_edge ON storage_edges (memory_id, memory_type, artifact, backend);
