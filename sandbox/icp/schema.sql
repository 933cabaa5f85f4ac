-- The canister's state. Metadata and blobs are apart, as in the canister: a memory's assets point
-- at blobs by locator, and nothing but a reader notices when the blob is not there.
CREATE TABLE IF NOT EXISTS capsule (
    id          TEXT PRIMARY KEY,
    subject     TEXT NOT NULL,
    owners      TEXT NOT NULL,      -- JSON array of principals
    controllers TEXT NOT NULL,      -- JSON array of principals
    created_at  INTEGER NOT NULL,   -- all times: nanoseconds since 1970
    updated_at  INTEGER NOT NULL
);

-- slot is where an unordered map would keep the memory: it alone decides the order of a listing.
CREATE TABLE IF NOT EXISTS memory (
    number     INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    capsule_id TEXT NOT NULL,
    slot       INTEGER NOT NULL,
    stored_at  INTEGER NOT NULL,    -- when the row was written, whatever its own dates say
    document   TEXT NOT NULL        -- JSON: the memory's other fields and its assets
);
CREATE INDEX IF NOT EXISTS memory_slot ON memory (capsule_id, slot);

-- What was deleted lately: a stale listing shows it still.
CREATE TABLE IF NOT EXISTS removed (
    id         TEXT PRIMARY KEY,
    capsule_id TEXT NOT NULL,
    stored_at  INTEGER NOT NULL,
    document   TEXT NOT NULL,
    removed_at INTEGER NOT NULL
);

-- body: a generated body's description, or raw:<sha256> of a file in blobs/.
CREATE TABLE IF NOT EXISTS blob (
    locator    TEXT PRIMARY KEY,
    capsule_id TEXT NOT NULL,
    body       TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS gallery (
    id         TEXT PRIMARY KEY,
    capsule_id TEXT NOT NULL,
    title      TEXT,
    items      TEXT NOT NULL,       -- JSON array of [memory id, memory type, position, caption]
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

-- What an update with an idempotency key gave the first time.
CREATE TABLE IF NOT EXISTS idempotency (
    scope  TEXT NOT NULL,
    caller TEXT NOT NULL,
    key    TEXT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (scope, caller, key)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS upload (
    session         INTEGER PRIMARY KEY AUTOINCREMENT,
    caller          TEXT NOT NULL,
    capsule_id      TEXT NOT NULL,
    expected_chunks INTEGER NOT NULL,
    idem            TEXT NOT NULL,
    started_at      INTEGER NOT NULL,
    result          TEXT            -- JSON, once the session is finished
);
CREATE INDEX IF NOT EXISTS upload_caller ON upload (caller, capsule_id);

-- A chunk may arrive twice, and each arrival counts: the session's hash is over arrivals.
CREATE TABLE IF NOT EXISTS upload_chunk (
    arrival     INTEGER PRIMARY KEY AUTOINCREMENT,
    session     INTEGER NOT NULL REFERENCES upload (session) ON DELETE CASCADE,
    chunk_index INTEGER NOT NULL,
    bytes       BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS upload_chunk_session ON upload_chunk (session);
