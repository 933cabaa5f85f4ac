-- Notes every write to the ledger and to the app's rows, by whomever, in its order; version is what
-- the row's xmin is since then.
CREATE TABLE witness (
    number bigserial PRIMARY KEY,
    who text NOT NULL DEFAULT current_setting('application_name'),
    place text NOT NULL,
    before jsonb,
    after jsonb,
    version text NOT NULL DEFAULT pg_current_xact_id()::xid::text
);

CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness (place, before, after) VALUES (
        TG_TABLE_NAME,
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END
$$;

-- As edgekeeper's own schema has it: every update of an edge says when it was made.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER touch BEFORE UPDATE ON storage_edges FOR EACH ROW EXECUTE FUNCTION touch();
