-- Images and items are views over tables of other names.
ALTER TABLE images RENAME TO media;
CREATE VIEW images AS SELECT id, owner_id, url, metadata, created_at, updated_at FROM media;
ALTER TABLE gallery_items RENAME TO shown;
CREATE VIEW gallery_items AS SELECT id, gallery_id, memory_id, memory_type, position FROM shown;
