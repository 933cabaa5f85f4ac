-- name: owners
-- Whose some memories are.
SELECT m.{id}::text, {owner_id} FROM {table} AS m
WHERE m.{id} = ANY({ids}) AND {owner_id} IS NOT NULL;

-- name: galleries
-- In which galleries some memories are.
SELECT m.{id}::text, {memory_type}, {gallery_id} FROM {table} AS m
WHERE m.{id} = ANY({ids}) AND {gallery_id} IS NOT NULL;
