-- name: gallery
-- One gallery; of a title that fills megabytes its beginning.
SELECT g.{id}::text, left({title}, 200), {owner_id} FROM {galleries} AS g WHERE g.{id} = ANY({ids});

-- name: items
-- The items of one gallery, in its order.
SELECT {position} AS position, i.{memory_id}::text AS memory_id, i.{memory_type}::text AS memory_type
FROM {items} AS i
WHERE i.{gallery_id} = ANY({ids})
ORDER BY 1 NULLS LAST, 2, 3;

-- name: storage_status
-- What the ledger's view says of one gallery.
SELECT storage_status FROM {view} AS v WHERE v.gallery_id::text = %(gallery_id)s;
