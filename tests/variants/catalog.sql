-- Every object of ours and the app's with the version of its rows in the catalog.
SELECT 'relation', c.oid, c.relname::text, c.xmin::text FROM pg_class AS c
WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
UNION ALL
SELECT 'column', a.attrelid, a.attname::text, a.xmin::text FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
UNION ALL
SELECT 'function', p.oid, p.proname::text, p.xmin::text FROM pg_proc AS p
WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
UNION ALL
SELECT 'trigger', t.oid, t.tgname::text, t.xmin::text FROM pg_trigger AS t
UNION ALL
SELECT 'enum', e.oid, e.enumlabel::text, e.xmin::text FROM pg_enum AS e
UNION ALL
SELECT 'view', r.ev_class, r.rulename::text, r.xmin::text FROM pg_rewrite AS r
JOIN pg_class AS c ON c.oid = r.ev_class
WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
ORDER BY 1, 2, 3, 4
