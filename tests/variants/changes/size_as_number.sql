-- A file's size as a number.
ALTER TABLE videos ALTER COLUMN size TYPE bigint USING size::bigint;
ALTER TABLE documents ALTER COLUMN size TYPE integer USING size::integer;
ALTER TABLE audio ALTER COLUMN size TYPE numeric USING size::numeric;
