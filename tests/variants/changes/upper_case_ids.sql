-- Text ids in capital letters, as another library prints them.
UPDATE images SET id = upper(id);
UPDATE gallery_items SET memory_id = upper(memory_id) WHERE memory_type = 'image';
