-- name: ledger
-- Every edge with the version of its row; times in UTC.
SELECT
    {edge_id} AS edge_id,
    e.memory_id::text AS memory_id,
    e.memory_type::text AS memory_type,
    e.artifact::text AS artifact,
    e.backend::text AS backend,
    {present} AS present,
    {location} AS location,
    {content_hash} AS content_hash,
    {size_bytes} AS size_bytes,
    {sync_state} AS sync_state,
    {last_synced_at} AS last_synced_at,
    {sync_error} AS sync_error,
    {created_at} AS created_at,
    {updated_at} AS updated_at,
    {version} AS version
FROM {table} AS e;

-- name: ledger_of
-- The same for the edges of some memories only.
SELECT
    {edge_id} AS edge_id,
    e.memory_id::text AS memory_id,
    e.memory_type::text AS memory_type,
    e.artifact::text AS artifact,
    e.backend::text AS backend,
    {present} AS present,
    {location} AS location,
    {content_hash} AS content_hash,
    {size_bytes} AS size_bytes,
    {sync_state} AS sync_state,
    {last_synced_at} AS last_synced_at,
    {sync_error} AS sync_error,
    {created_at} AS created_at,
    {updated_at} AS updated_at,
    {version} AS version
FROM {table} AS e
WHERE e.memory_id = ANY({ids});

-- name: statistics
-- How many edges there are per backend, and how many of them say that the artifact is there.
SELECT e.backend::text, count(*) AS edges, count(*) FILTER (WHERE e.present) AS present
FROM {table} AS e
GROUP BY e.backend::text
ORDER BY e.backend::text;

-- name: statistics_by_type
-- How many edges there are per memory type.
SELECT e.memory_type::text, count(*) AS edges FROM {table} AS e GROUP BY e.memory_type::text;
