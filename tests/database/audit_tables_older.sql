-- The tables of the schema audit as an earlier version made them: a database that it has used.
CREATE SCHEMA IF NOT EXISTS audit;
COMMENT ON SCHEMA audit IS 'edgekeeper';

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
    doc jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS finding_open ON audit.finding (last_run_id) WHERE resolved_at IS NULL;

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
    PRIMARY KEY (memory_id, memory_type, backend)
);
CREATE INDEX IF NOT EXISTS verification_at ON audit.verification (at);

CREATE TABLE IF NOT EXISTS audit.check_result (
    run_id text NOT NULL,
    check_name text NOT NULL,
    success boolean NOT NULL,
    severity text,
    observed jsonb,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, check_name)
);

CREATE TABLE IF NOT EXISTS audit.checkpoint (
    run_id text NOT NULL,
    stage text NOT NULL,
    state jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, stage)
);

CREATE TABLE IF NOT EXISTS audit.ack (
    fingerprint text PRIMARY KEY,
    until timestamptz,
    reason text NOT NULL,
    decision text,
    acknowledged_by text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE IF NOT EXISTS audit.store_identity (
    backend text PRIMARY KEY,
    identity text NOT NULL,
    pinned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    pinned_by text NOT NULL
);

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
