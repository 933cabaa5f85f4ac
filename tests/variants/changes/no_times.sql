-- Nor when it was made.
ALTER TABLE images DROP COLUMN created_at;
ALTER TABLE videos DROP COLUMN created_at;
ALTER TABLE notes DROP COLUMN created_at;
ALTER TABLE documents DROP COLUMN created_at;
ALTER TABLE audio DROP COLUMN created_at;
