-- name: memory_urls
-- What the rows of one memory table name by their url.
SELECT m.{url}::text AS reference, 'memory' AS source
FROM {table} AS m
WHERE m.{url} IS NOT NULL;

-- name: thumbnails
-- What the rows of a table with jsonb metadata name as their thumbnail.
SELECT m.{metadata} ->> 'thumbnail' AS reference, 'thumbnail' AS source
FROM {table} AS m
WHERE jsonb_typeof(m.{metadata} -> 'thumbnail') = 'string';

-- name: thumbnails_in_string
-- Metadata that was encoded twice: a jsonb string that holds JSON; the reader parses it.
SELECT m.{metadata} #>> ARRAY[]::text[] AS reference, 'metadata' AS source
FROM {table} AS m
WHERE jsonb_typeof(m.{metadata}) = 'string' AND m.{metadata}::text LIKE '%thumbnail%';

-- name: thumbnails_in_text
-- Metadata kept as text or json, which may hold what Postgres can't take apart: the reader does.
SELECT m.{metadata}::text AS reference, 'metadata' AS source
FROM {table} AS m
WHERE m.{metadata}::text LIKE '%thumbnail%';

-- name: user_images
-- What the users' rows name as their picture.
SELECT u.{image}::text AS reference, 'user' AS source
FROM {table} AS u
WHERE u.{image} IS NOT NULL;

-- name: edge_locations
-- What the ledger's rows about the blob store name, and the memory that each is about.
SELECT e.memory_id::text AS memory_id, e.memory_type::text AS memory_type,
    {location} AS reference
FROM {table} AS e
WHERE e.backend::text = 'vercel-blob' AND {location} IS NOT NULL;
