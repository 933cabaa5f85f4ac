-- Nobody wrote down when a row was changed.
ALTER TABLE images DROP COLUMN updated_at;
ALTER TABLE videos DROP COLUMN updated_at;
ALTER TABLE notes DROP COLUMN updated_at;
ALTER TABLE documents DROP COLUMN updated_at;
ALTER TABLE audio DROP COLUMN updated_at;
ALTER TABLE galleries DROP COLUMN updated_at;
ALTER TABLE gallery_items DROP COLUMN updated_at;
