-- The app's tables in a schema that the search_path leads to first.
CREATE SCHEMA app;
DO $$
DECLARE
    each record;
BEGIN
    FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
    LOOP
        EXECUTE format('ALTER TABLE %I SET SCHEMA app', each.tablename);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I SET search_path = app, public', current_database());
END
$$;
