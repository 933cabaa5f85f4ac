-- Rows as years leave them.
CREATE TEMPORARY TABLE picked AS
SELECT id, row_number() OVER (ORDER BY id) AS n FROM images;
UPDATE images SET url = NULL FROM picked AS p WHERE p.id = images.id AND p.n = 1;
UPDATE images SET url = '  ' FROM picked AS p WHERE p.id = images.id AND p.n = 2;
UPDATE images SET url = '/uploads/x.jpg' FROM picked AS p WHERE p.id = images.id AND p.n = 3;
UPDATE images SET url = 'https://elsewhere.example/x.jpg'
FROM picked AS p WHERE p.id = images.id AND p.n = 4;
UPDATE images SET url = url || '?download=1' FROM picked AS p WHERE p.id = images.id AND p.n = 5;
UPDATE images SET url = (SELECT i.url FROM images AS i JOIN picked AS q ON q.id = i.id AND q.n = 7)
FROM picked AS p WHERE p.id = images.id AND p.n = 6;
UPDATE images SET url = regexp_replace(url, '[^/]*$', 'never-uploaded.jpg')
FROM picked AS p WHERE p.id = images.id AND p.n = 8;
ALTER TABLE images ALTER COLUMN created_at DROP NOT NULL;
UPDATE images SET created_at = NULL FROM picked AS p WHERE p.id = images.id AND p.n = 9;
ALTER TABLE images DROP CONSTRAINT images_owner_id_fkey;
UPDATE images SET owner_id = '99999999-9999-4999-8999-999999999999'
FROM picked AS p WHERE p.id = images.id AND p.n = 9;
UPDATE videos SET size = size::bigint + 1;
UPDATE documents SET size = '12 kB';
ALTER TABLE images ALTER COLUMN metadata TYPE text;
UPDATE images SET metadata = '{"size": "7", broken \u0000'
FROM picked AS p WHERE p.id = images.id AND p.n = 7;
