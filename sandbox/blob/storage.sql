-- The statements of storage.py. Each one begins with its name; what stands before the first is this.

-- name: schema
-- Objects in the order they are listed in (SQLite compares text bytewise, as UTF-8), the versions
-- that were overwritten or deleted of late, and uploads in parts that were not completed.
CREATE TABLE IF NOT EXISTS object (
    pathname              TEXT PRIMARY KEY NOT NULL,
    size                  INTEGER NOT NULL,
    etag                  TEXT NOT NULL,
    uploaded_at           INTEGER NOT NULL,
    content_type          TEXT NOT NULL,
    body                  TEXT NOT NULL,
    access                TEXT NOT NULL CHECK (access IN ('public', 'private')),
    cache_control_max_age INTEGER NOT NULL,
    content_disposition   TEXT
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS former (
    pathname              TEXT NOT NULL,
    size                  INTEGER NOT NULL,
    etag                  TEXT NOT NULL,
    uploaded_at           INTEGER NOT NULL,
    content_type          TEXT NOT NULL,
    body                  TEXT NOT NULL,
    access                TEXT NOT NULL,
    cache_control_max_age INTEGER NOT NULL,
    content_disposition   TEXT,
    removed_at            INTEGER NOT NULL,
    PRIMARY KEY (pathname, removed_at)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS former_by_time ON former (removed_at);

CREATE TABLE IF NOT EXISTS upload (
    upload_id  TEXT PRIMARY KEY NOT NULL,
    pathname   TEXT NOT NULL,
    options    TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS part (
    upload_id TEXT NOT NULL REFERENCES upload (upload_id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    md5       TEXT NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;

-- name: upsert
-- An object exactly as given, in place of what had its pathname.
INSERT OR REPLACE INTO object
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: get
-- One object.
SELECT * FROM object WHERE pathname = ?;

-- name: retire
-- The version that is about to be overwritten or deleted, kept for those who ask for an old listing.
INSERT OR REPLACE INTO former
SELECT object.*, ? FROM object WHERE pathname = ?;

-- name: delete
-- One object less.
DELETE FROM object WHERE pathname = ?;

-- name: forget
-- Former versions that no old listing reaches back to.
DELETE FROM former WHERE removed_at < ?;

-- name: page
-- Objects in a range of pathnames, in order.
SELECT * FROM object
WHERE pathname >= :low AND pathname < :high
ORDER BY pathname
LIMIT :limit;

-- name: page_as_of
-- The same as the listing was at an earlier moment: without what was uploaded since, with what was
-- overwritten or deleted since.
SELECT * FROM object
WHERE pathname >= :low AND pathname < :high AND uploaded_at <= :as_of
UNION ALL
SELECT
    pathname, size, etag, uploaded_at, content_type, body, access,
    cache_control_max_age, content_disposition
FROM former
WHERE pathname >= :low AND pathname < :high AND uploaded_at <= :as_of AND removed_at > :as_of
ORDER BY pathname
LIMIT :limit;

-- name: begin_upload
-- An upload in parts.
INSERT INTO upload VALUES (?, ?, ?, ?);

-- name: get_upload
-- What was said when an upload in parts began.
SELECT options FROM upload WHERE upload_id = ? AND pathname = ?;

-- name: put_part
-- A part, in place of an earlier one with its number.
INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?);

-- name: get_parts
-- The parts of an upload, in order.
SELECT number, size, md5, body FROM part WHERE upload_id = ? ORDER BY number;

-- name: end_upload
-- An upload that was completed; its parts go with it.
DELETE FROM upload WHERE upload_id = ?;
