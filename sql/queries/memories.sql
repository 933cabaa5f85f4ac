-- name: inventory
-- The rows of one memory table as they are, without the content itself; times in UTC. When a row
-- was last written is not known of a table without updated_at.
SELECT
    m.{id}::text AS memory_id,
    {memory_type} AS memory_type,
    {url} AS url,
    {content_size} AS content_size,
    {content_sha256} AS content_sha256,
    {created_at} AS created_at,
    {updated_at} AS written_at,
    {version} AS version
FROM {table} AS m;

-- name: inventory_of
-- The same for the rows with some ids only.
SELECT
    m.{id}::text AS memory_id,
    {memory_type} AS memory_type,
    {url} AS url,
    {content_size} AS content_size,
    {content_sha256} AS content_sha256,
    {created_at} AS created_at,
    {updated_at} AS written_at,
    {version} AS version
FROM {table} AS m
WHERE m.{id} = ANY({ids});

-- name: count
-- How many rows one memory table has.
SELECT count(*) FROM {table};

-- name: lock
-- Which of some rows are there; they stay there until the end of the transaction.
SELECT m.{id}::text FROM {table} AS m WHERE m.{id} = ANY({ids}) FOR KEY SHARE;

-- name: present
-- Which of some rows are there at this moment.
SELECT m.{id}::text FROM {table} AS m WHERE m.{id} = ANY({ids});

-- name: described
-- What the rows with some ids say of their memories, for people; times in UTC.
SELECT m.{id}::text, {title}, {description}, {mime_type}, {metadata}, {is_public}, {created_at},
    coalesce({updated_at}, {created_at})
FROM {table} AS m
WHERE m.{id} = ANY({ids});

-- name: text
-- The text of one note, as bytes in UTF-8.
SELECT convert_to(m.{content}::text, 'UTF8') FROM {table} AS m WHERE m.{id} = ANY({ids});
