-- Columns as the app's code calls them.
DO $$
DECLARE
    each record;
BEGIN
    FOR each IN SELECT table_name, column_name,
            left(column_name, 1) || substr(replace(initcap(replace(column_name, '_', ' ')), ' ', ''), 2) AS new_name
        FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name LIKE '%\_%' AND table_name <> 'storage_edges'
    LOOP
        EXECUTE format('ALTER TABLE %I RENAME COLUMN %I TO %I', each.table_name, each.column_name, each.new_name);
    END LOOP;
END
$$;
