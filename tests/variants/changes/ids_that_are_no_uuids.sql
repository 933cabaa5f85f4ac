-- A memory, an item and a gallery from the time before the app used UUIDs.
INSERT INTO images (id, owner_id, url, owner_secure_code, metadata, created_at)
SELECT 'img_0001', owner_id, url, '', metadata, created_at
FROM (SELECT * FROM images ORDER BY id LIMIT 1) AS first;
INSERT INTO galleries (id, owner_id, title) SELECT 'gal_0001', owner_id, 'old' FROM galleries LIMIT 1;
INSERT INTO gallery_items (id, gallery_id, memory_id, memory_type, position)
VALUES ('item_0001', 'gal_0001', 'img_0001', 'image', 0);
