-- Every uuid of the app is kept as text.
DO $$
DECLARE
    each record;
BEGIN
    FOR each IN SELECT conrelid::regclass AS name, conname FROM pg_constraint
        WHERE contype = 'f' AND connamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', each.name, each.conname);
    END LOOP;
    FOR each IN SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'uuid' AND table_name <> 'storage_edges'
    LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE text', each.table_name, each.column_name);
    END LOOP;
END
$$;
