-- Times with a zone, in a database whose zone is not UTC.
DO $$
DECLARE
    each record;
BEGIN
    FOR each IN SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'
    LOOP
        EXECUTE format(
            'ALTER TABLE %1$I ALTER COLUMN %2$I TYPE timestamptz USING %2$I AT TIME ZONE ''UTC''',
            each.table_name, each.column_name);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database());
END
$$;
