-- The app's tables as the design document's appendix describes them.
CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, email text, image text);
CREATE TABLE images (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner_id uuid, title text, description text,
    is_public boolean NOT NULL DEFAULT false, owner_secure_code text NOT NULL DEFAULT '',
    parent_folder_id uuid, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now(),
    metadata jsonb, url text, caption text
);
CREATE TABLE videos (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner_id uuid, title text, description text,
    is_public boolean NOT NULL DEFAULT false, owner_secure_code text NOT NULL DEFAULT '',
    parent_folder_id uuid, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now(),
    metadata jsonb, url text, duration integer, mime_type text, size text
);
CREATE TABLE notes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner_id uuid, title text, description text,
    is_public boolean NOT NULL DEFAULT false, owner_secure_code text NOT NULL DEFAULT '',
    parent_folder_id uuid, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now(),
    metadata jsonb, content text
);
CREATE TABLE documents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner_id uuid, title text, description text,
    is_public boolean NOT NULL DEFAULT false, owner_secure_code text NOT NULL DEFAULT '',
    parent_folder_id uuid, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now(),
    metadata jsonb, url text, mime_type text, size text
);
CREATE TABLE audio (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner_id uuid, title text, description text,
    is_public boolean NOT NULL DEFAULT false, owner_secure_code text NOT NULL DEFAULT '',
    parent_folder_id uuid, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now(),
    metadata jsonb, url text, duration integer, mime_type text, size text
);
CREATE TABLE galleries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner_id uuid, title text, description text,
    is_public boolean NOT NULL DEFAULT false, created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);
CREATE TABLE gallery_items (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), gallery_id uuid NOT NULL REFERENCES galleries,
    memory_id uuid NOT NULL, memory_type text NOT NULL, position integer NOT NULL DEFAULT 0,
    caption text, is_featured boolean NOT NULL DEFAULT false, metadata jsonb,
    created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now()
);
CREATE INDEX gallery_items_gallery ON gallery_items (gallery_id);
