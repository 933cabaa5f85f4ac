-- A ledger of texts, without enums, filled by the app with its ids as they are.
CREATE TABLE storage_edges (
    id text PRIMARY KEY DEFAULT gen_random_uuid(),
    memory_id text NOT NULL,
    memory_type text NOT NULL,
    artifact text NOT NULL,
    backend text NOT NULL,
    present boolean DEFAULT false NOT NULL,
    location text,
    content_hash varchar(64),
    size_bytes integer,
    sync_state text DEFAULT 'idle' NOT NULL,
    last_synced_at timestamptz,
    sync_error text,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);
INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present)
SELECT id, 'image', 'metadata', 'neon-db', true FROM images ORDER BY id LIMIT 3;
