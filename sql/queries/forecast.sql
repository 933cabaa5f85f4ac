-- name: ledger
-- How many edges the ledger has of each backend, how many assets it says are there, and their bytes.
SELECT
    e.backend::text,
    count(*) AS edges,
    count(*) FILTER (WHERE {present} AND e.artifact::text = 'asset') AS assets,
    coalesce(
        sum(greatest({size_bytes}, 0)) FILTER (WHERE {present} AND e.artifact::text = 'asset'), 0
    )::bigint AS bytes
FROM {table} AS e
GROUP BY e.backend::text;

-- name: capsules
-- How many memories the ledger says are in each capsule; a memory has two edges at one location.
SELECT
    split_part({location}, '/', 3) AS capsule,
    greatest(
        count(*) FILTER (WHERE e.artifact::text = 'metadata'),
        count(*) FILTER (WHERE e.artifact::text = 'asset')
    ) AS memories
FROM {table} AS e
WHERE {present} AND e.backend::text = 'icp-canister' AND {location} LIKE 'icp://%/%'
GROUP BY 1;

-- name: rows
-- How many rows one of the app's memory tables has.
SELECT count(*) FROM {table};

-- name: open_findings
-- How many findings are open, by backend.
SELECT f.backend, count(*) FROM audit.finding AS f WHERE f.resolved_at IS NULL GROUP BY f.backend;
