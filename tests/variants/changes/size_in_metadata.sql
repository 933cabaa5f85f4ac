-- A file's size only in the JSON.
UPDATE videos SET metadata = jsonb_set(metadata::jsonb, '{size}', to_jsonb(size));
UPDATE documents SET metadata = jsonb_set(metadata::jsonb, '{size}', to_jsonb(size::bigint));
ALTER TABLE videos DROP COLUMN size;
ALTER TABLE documents DROP COLUMN size;
ALTER TABLE audio DROP COLUMN size;
