-- name: enum
-- One of the ledger's enums; its values are those of the program's model.
CREATE TYPE {name} AS ENUM ({values});

-- name: enum_value
-- A value that an existing enum lacks.
ALTER TYPE {name} ADD VALUE IF NOT EXISTS {value};

-- name: storage_edges
-- The ledger: what is where, one row per memory, artifact and backend.
CREATE TABLE storage_edges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    memory_id uuid NOT NULL,
    memory_type memory_type_t NOT NULL,
    artifact artifact_t NOT NULL,
    backend backend_t NOT NULL,
    present boolean NOT NULL DEFAULT false,
    location text,
    content_hash text,
    size_bytes bigint,
    sync_state sync_t NOT NULL DEFAULT 'idle',
    last_synced_at timestamp,
    sync_error text,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

-- name: add_present
-- A ledger without it says of nothing that it is there.
ALTER TABLE storage_edges ADD COLUMN present boolean NOT NULL DEFAULT false;

-- name: add_location
-- Where the artifact lies in its backend.
ALTER TABLE storage_edges ADD COLUMN location text;

-- name: add_content_hash
-- SHA-256 of an asset.
ALTER TABLE storage_edges ADD COLUMN content_hash text;

-- name: add_size_bytes
-- Length of an asset.
ALTER TABLE storage_edges ADD COLUMN size_bytes bigint;

-- name: add_sync_state
-- How the last copy stands.
ALTER TABLE storage_edges ADD COLUMN sync_state sync_t NOT NULL DEFAULT 'idle';

-- name: add_last_synced_at
-- When the artifact was last copied.
ALTER TABLE storage_edges ADD COLUMN last_synced_at timestamp;

-- name: add_sync_error
-- Why the last copy failed.
ALTER TABLE storage_edges ADD COLUMN sync_error text;

-- name: add_created_at
-- Rows that were there before get the time of this change.
ALTER TABLE storage_edges ADD COLUMN created_at timestamp DEFAULT now();

-- name: add_updated_at
-- Rows that were there before get the time of this change.
ALTER TABLE storage_edges ADD COLUMN updated_at timestamp DEFAULT now();

-- name: default_id
-- An insert that names no id gets one.
ALTER TABLE storage_edges ALTER COLUMN id SET DEFAULT gen_random_uuid();

-- name: default_present
-- An insert that says nothing of presence says that nothing is there.
ALTER TABLE storage_edges ALTER COLUMN present SET DEFAULT false;

-- name: default_sync_state
-- An edge that is not being copied.
ALTER TABLE storage_edges ALTER COLUMN sync_state SET DEFAULT 'idle';

-- name: default_created_at
-- When the edge was made.
ALTER TABLE storage_edges ALTER COLUMN created_at SET DEFAULT now();

-- name: default_updated_at
-- When the edge was made, until the first update.
ALTER TABLE storage_edges ALTER COLUMN updated_at SET DEFAULT now();

-- name: drop_not_null
-- For a person: a column of the app's own that edgekeeper does not know how to fill.
ALTER TABLE storage_edges ALTER COLUMN {column} DROP NOT NULL;

-- name: retype
-- For a person: the table is rewritten and locked meanwhile; edgekeeper schema apply makes the views
-- again. Nothing is done where a value does not fit.
BEGIN;
DROP MATERIALIZED VIEW IF EXISTS gallery_presence_mv;
DROP VIEW IF EXISTS gallery_presence, memory_presence, sync_status;
ALTER TABLE storage_edges
    {changes};
COMMIT;

-- name: uq_edge
-- One edge per memory, artifact and backend: what makes every write idempotent.
CREATE UNIQUE INDEX {concurrently} uq_edge
    ON storage_edges (memory_id, memory_type, artifact, backend);

-- name: ix_edges_memory
-- All edges of one memory.
CREATE INDEX {concurrently} ix_edges_memory ON storage_edges (memory_id, memory_type);

-- name: ix_edges_backend_present
-- What a backend is said to hold.
CREATE INDEX {concurrently} ix_edges_backend_present
    ON storage_edges (backend, artifact, present);

-- name: ix_edges_sync_state
-- What is being copied or has failed.
CREATE INDEX {concurrently} ix_edges_sync_state ON storage_edges (sync_state);

-- name: drop_index
-- An index that a broken-off CREATE INDEX CONCURRENTLY left behind; it serves nobody.
DROP INDEX CONCURRENTLY IF EXISTS {name};

-- name: edgekeeper_touch_updated_at
-- Our own function under our own name: another table's trigger may use one called set_updated_at.
CREATE OR REPLACE FUNCTION edgekeeper_touch_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := {now};
    RETURN NEW;
END
$$;

-- name: storage_edges_set_updated_at
-- Every update of an edge says when it was made, whoever makes it.
CREATE OR REPLACE TRIGGER storage_edges_set_updated_at
    BEFORE UPDATE ON storage_edges
    FOR EACH ROW EXECUTE FUNCTION edgekeeper_touch_updated_at();
