-- The app's tables as some deployments have them: singular names, text ids, fewer columns.
CREATE TABLE "user" (id text PRIMARY KEY, image text);
CREATE TABLE image (
    id text PRIMARY KEY, url text, metadata json, created_at timestamptz DEFAULT now()
);
CREATE TABLE video (id text PRIMARY KEY, url text, metadata text, size text);
CREATE TABLE note (id text PRIMARY KEY, content text, "createdAt" timestamp, "updatedAt" timestamp);
CREATE TABLE audio (id text PRIMARY KEY, url text, size text);
CREATE TABLE gallery (id text PRIMARY KEY, title text);
CREATE TABLE gallery_item (
    id text PRIMARY KEY, gallery_id text NOT NULL, memory_id text NOT NULL, memory_type text NOT NULL
);
CREATE INDEX gallery_item_gallery ON gallery_item (gallery_id);
