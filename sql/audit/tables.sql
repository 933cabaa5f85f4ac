-- name: audit_schema
-- Our own tables live apart from the app's.
CREATE SCHEMA IF NOT EXISTS audit;
COMMENT ON SCHEMA audit IS 'edgekeeper';

-- name: run
-- One row per run. At most one run holds the lease: it alone may write, as long as its heartbeat is
-- young and its fencing token is the one it was given.
CREATE TABLE IF NOT EXISTS audit.run (
    run_id text PRIMARY KEY,
    flow text NOT NULL,
    policy text NOT NULL,
    status text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    heartbeat_at timestamptz,
    holds_lease boolean NOT NULL DEFAULT false,
    fencing_token bigint,
    holder text,
    settings jsonb,
    summary jsonb
);
CREATE UNIQUE INDEX IF NOT EXISTS run_lease ON audit.run (holds_lease) WHERE holds_lease;
CREATE INDEX IF NOT EXISTS run_started ON audit.run (started_at);
CREATE SEQUENCE IF NOT EXISTS audit.fencing_token;

-- name: finding
-- One row per difference, across runs. first_doc is how it was first seen, doc how it was last;
-- needs are the stores that a run must have seen whole to say that it is gone.
CREATE TABLE IF NOT EXISTS audit.finding (
    fingerprint text PRIMARY KEY,
    kind text NOT NULL,
    severity text NOT NULL,
    memory_id text,
    memory_type text,
    artifact text,
    backend text,
    location text,
    gallery_id text,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    runs_seen integer NOT NULL,
    complete_runs_seen integer NOT NULL,
    first_run_id text NOT NULL,
    last_run_id text NOT NULL,
    resolved_at timestamptz,
    resolved_run_id text,
    first_doc jsonb NOT NULL,
    doc jsonb NOT NULL,
    needs text[]
);
ALTER TABLE audit.finding ADD COLUMN IF NOT EXISTS needs text[];
CREATE INDEX IF NOT EXISTS finding_open ON audit.finding (last_run_id) WHERE resolved_at IS NULL;

-- name: repair
-- The journal: every write to the ledger with the row before and after. A batch of back-filled
-- edges is one row: their ids, and the version that their rows had when they were written.
CREATE TABLE IF NOT EXISTS audit.repair (
    id bigserial PRIMARY KEY,
    run_id text NOT NULL,
    fingerprint text,
    kind text NOT NULL,
    edge_id text,
    edge_ids text[],
    version text,
    action text NOT NULL CHECK (action IN ('insert', 'update', 'delete')),
    before jsonb,
    after jsonb,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reverted_at timestamptz,
    reverted_by text
);
CREATE UNIQUE INDEX IF NOT EXISTS repair_once ON audit.repair (run_id, fingerprint, edge_id, action)
    WHERE reverted_at IS NULL AND fingerprint IS NOT NULL;
CREATE INDEX IF NOT EXISTS repair_run ON audit.repair (run_id, id);

-- name: verification
-- When the bytes of each replica were last read or certified, and what came out; verified_at,
-- verified_sha256 and verified_version are of the last time that they were what the ledger said.
CREATE TABLE IF NOT EXISTS audit.verification (
    memory_id text NOT NULL,
    memory_type text NOT NULL,
    backend text NOT NULL,
    location text,
    at timestamptz NOT NULL,
    method text NOT NULL,
    size_bytes bigint,
    sha256 text,
    md5 text,
    version text,
    outcome text NOT NULL,
    run_id text,
    verified_at timestamptz,
    verified_sha256 text,
    verified_version text,
    PRIMARY KEY (memory_id, memory_type, backend)
);
ALTER TABLE audit.verification ADD COLUMN IF NOT EXISTS verified_version text;
CREATE INDEX IF NOT EXISTS verification_at ON audit.verification (at);

-- name: check_result
-- The outcome of every data-quality check of every run; success is null where it can't be judged,
-- and unjudged says why.
CREATE TABLE IF NOT EXISTS audit.check_result (
    run_id text NOT NULL,
    check_name text NOT NULL,
    success boolean,
    severity text,
    observed jsonb,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    unjudged text,
    PRIMARY KEY (run_id, check_name)
);
ALTER TABLE audit.check_result
    ALTER COLUMN success DROP NOT NULL,
    ADD COLUMN IF NOT EXISTS unjudged text;

-- name: checkpoint
-- How far each stage of a run has come.
CREATE TABLE IF NOT EXISTS audit.checkpoint (
    run_id text NOT NULL,
    stage text NOT NULL,
    state jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, stage)
);

-- name: ack
-- Findings that a person has taken note of until a date, or decided; severity, observed and
-- first_seen are the finding's at that moment, run_id is the run that a decision was made under.
CREATE TABLE IF NOT EXISTS audit.ack (
    fingerprint text PRIMARY KEY,
    until timestamptz,
    reason text NOT NULL,
    decision text,
    acknowledged_by text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    severity text,
    observed jsonb,
    first_seen timestamptz,
    run_id text
);
ALTER TABLE audit.ack
    ADD COLUMN IF NOT EXISTS severity text,
    ADD COLUMN IF NOT EXISTS observed jsonb,
    ADD COLUMN IF NOT EXISTS first_seen timestamptz,
    ADD COLUMN IF NOT EXISTS run_id text;

-- name: store_identity
-- Which store each backend is: another one is refused until a person accepts it.
CREATE TABLE IF NOT EXISTS audit.store_identity (
    backend text PRIMARY KEY,
    identity text NOT NULL,
    pinned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    pinned_by text NOT NULL
);

-- name: quarantine
-- Objects whose bytes were kept aside before they were deleted, and what became of them.
CREATE TABLE IF NOT EXISTS audit.quarantine (
    run_id text NOT NULL,
    backend text NOT NULL,
    location text NOT NULL,
    version text,
    content_type text,
    size_bytes bigint,
    sha256 text,
    kept_at text,
    manifest jsonb,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    purged_at timestamptz,
    restored_at timestamptz,
    PRIMARY KEY (run_id, backend, location)
);

-- name: claim
-- Memories that a run is copying to a store just now. The claim lives as long as its run: it counts
-- while that holds the lease and its heart beats.
CREATE TABLE IF NOT EXISTS audit.claim (
    memory_id text NOT NULL,
    memory_type text NOT NULL,
    backend text NOT NULL,
    run_id text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (memory_id, memory_type, backend)
);

-- name: upload
-- Upload sessions of the canister that were begun, and what they ended with, until the memory that
-- they are for has its asset: a run that was killed leaves no second blob behind.
CREATE TABLE IF NOT EXISTS audit.upload (
    canister_id text NOT NULL,
    capsule_id text NOT NULL,
    idem text NOT NULL,
    session numeric(20) NOT NULL,
    chunk_bytes integer NOT NULL,
    sent integer NOT NULL,
    blob_id text,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (canister_id, capsule_id, idem)
);

-- name: state
-- Which tables the schema audit has, with which columns, and whether the schema is ours.
SELECT
    obj_description(n.oid, 'pg_namespace') = 'edgekeeper' AS ours,
    (SELECT coalesce(array_agg(c.relname::text), ARRAY[]::text[]) FROM pg_class AS c
     WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p')) AS tables,
    (SELECT coalesce(array_agg(c.relname || '.' || a.attname), ARRAY[]::text[])
     FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
     WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') AND a.attnum > 0
         AND NOT a.attisdropped) AS columns
FROM pg_namespace AS n
WHERE n.nspname = 'audit';

-- name: lock
-- Two runs that start at once make the tables one after the other.
SELECT pg_advisory_xact_lock(hashtext('edgekeeper audit schema'));

-- name: has_table
-- Whether a table of the schema audit is there: none is before the first run.
SELECT to_regclass('audit.' || %(table)s) IS NOT NULL;
