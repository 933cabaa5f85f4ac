-- A column that every insert must fill, and an id that nothing fills by itself.
ALTER TABLE storage_edges ADD COLUMN tenant text NOT NULL DEFAULT 'main';
ALTER TABLE storage_edges ALTER COLUMN tenant DROP DEFAULT;
ALTER TABLE storage_edges ALTER COLUMN id DROP DEFAULT;
