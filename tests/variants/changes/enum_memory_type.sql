-- An item's type as an enum of the app's own, by another name than the ledger's.
CREATE TYPE memory_type AS ENUM ('image', 'document', 'note', 'video', 'audio');
ALTER TABLE gallery_items ALTER COLUMN memory_type TYPE memory_type USING memory_type::memory_type;
