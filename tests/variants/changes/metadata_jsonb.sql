-- The JSON in its binary form, once encoded twice.
ALTER TABLE videos ALTER COLUMN metadata TYPE jsonb USING to_jsonb(metadata::text);
ALTER TABLE images ALTER COLUMN metadata TYPE jsonb USING metadata::jsonb;
ALTER TABLE documents ALTER COLUMN metadata TYPE text USING metadata::text;
