-- A first ledger: without half of the columns and values, with rows, without any index.
CREATE TYPE artifact_t AS ENUM ('metadata', 'asset');
CREATE TYPE backend_t AS ENUM ('neon-db', 'vercel-blob');
CREATE TYPE memory_type_t AS ENUM ('image', 'video');
CREATE TABLE storage_edges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    memory_id uuid NOT NULL,
    memory_type memory_type_t NOT NULL,
    artifact artifact_t NOT NULL,
    backend backend_t NOT NULL,
    present boolean DEFAULT false NOT NULL
);
INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present)
SELECT id, 'image', 'metadata', 'neon-db', true FROM images ORDER BY id LIMIT 3;
