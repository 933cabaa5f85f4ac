-- The app's tables as some databases have them: singular names, ids as text, a document's size only
-- in its metadata, no updated_at of a recording, no ledger until
-- the schema is applied or a ledger seeded.
CREATE TABLE "user" (
    id    text PRIMARY KEY DEFAULT gen_random_uuid(),
    name  text,
    email text UNIQUE,
    image text
);

CREATE TABLE all_user (
    id         text PRIMARY KEY DEFAULT gen_random_uuid(),
    type       text NOT NULL,
    user_id    text REFERENCES "user" (id) ON DELETE CASCADE,
    created_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE image (
    id                text PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          text NOT NULL REFERENCES all_user (id) ON DELETE CASCADE,
    url               text,
    caption           text,
    title             text,
    description       text,
    is_public         boolean NOT NULL DEFAULT false,
    owner_secure_code text NOT NULL,
    parent_folder_id  text,
    created_at        timestamp NOT NULL DEFAULT now(),
    updated_at        timestamp NOT NULL DEFAULT now(),
    metadata          json
);

CREATE TABLE video (
    id                text PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          text NOT NULL REFERENCES all_user (id) ON DELETE CASCADE,
    url               text,
    title             text NOT NULL,
    description       text,
    duration          integer,
    mime_type         text NOT NULL,
    size              text NOT NULL,
    is_public         boolean NOT NULL DEFAULT false,
    owner_secure_code text NOT NULL,
    parent_folder_id  text,
    created_at        timestamp NOT NULL DEFAULT now(),
    updated_at        timestamp NOT NULL DEFAULT now(),
    metadata          json
);

CREATE TABLE note (
    id                text PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          text NOT NULL REFERENCES all_user (id) ON DELETE CASCADE,
    title             text NOT NULL,
    content           text NOT NULL,
    description       text,
    is_public         boolean NOT NULL DEFAULT false,
    owner_secure_code text NOT NULL,
    parent_folder_id  text,
    created_at        timestamp NOT NULL DEFAULT now(),
    updated_at        timestamp NOT NULL DEFAULT now(),
    metadata          json
);

CREATE TABLE document (
    id                text PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          text NOT NULL REFERENCES all_user (id) ON DELETE CASCADE,
    url               text,
    title             text,
    description       text,
    mime_type         text NOT NULL,
    is_public         boolean NOT NULL DEFAULT false,
    owner_secure_code text NOT NULL,
    parent_folder_id  text,
    created_at        timestamp NOT NULL DEFAULT now(),
    updated_at        timestamp NOT NULL DEFAULT now(),
    metadata          json
);

CREATE TABLE audio (
    id                text PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          text NOT NULL REFERENCES all_user (id) ON DELETE CASCADE,
    url               text,
    title             text NOT NULL,
    description       text,
    duration          integer,
    mime_type         text NOT NULL,
    size              text NOT NULL,
    is_public         boolean NOT NULL DEFAULT false,
    owner_secure_code text NOT NULL,
    parent_folder_id  text,
    created_at        timestamp NOT NULL DEFAULT now(),
    metadata          json
);

CREATE TABLE gallery (
    id          text PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id    text NOT NULL REFERENCES all_user (id) ON DELETE CASCADE,
    title       text NOT NULL,
    description text,
    is_public   boolean NOT NULL DEFAULT false,
    created_at  timestamp NOT NULL DEFAULT now(),
    updated_at  timestamp NOT NULL DEFAULT now()
);

CREATE TABLE gallery_item (
    id          text PRIMARY KEY DEFAULT gen_random_uuid(),
    gallery_id  text NOT NULL REFERENCES gallery (id) ON DELETE CASCADE,
    memory_id   text NOT NULL,
    memory_type text NOT NULL,
    position    integer NOT NULL,
    caption     text,
    is_featured boolean NOT NULL DEFAULT false,
    metadata    json NOT NULL DEFAULT '{}',
    created_at  timestamp NOT NULL DEFAULT now(),
    updated_at  timestamp NOT NULL DEFAULT now()
);
CREATE INDEX gallery_item_gallery_position_idx ON gallery_item (gallery_id, position);
CREATE INDEX gallery_item_memory_idx ON gallery_item (memory_id, memory_type);

CREATE TABLE memory_share (
    id                             text PRIMARY KEY DEFAULT gen_random_uuid(),
    memory_id                      text NOT NULL,
    memory_type                    text NOT NULL,
    owner_id                       text NOT NULL REFERENCES all_user (id) ON DELETE CASCADE,
    shared_with_type               text NOT NULL,
    shared_with_id                 text REFERENCES all_user (id) ON DELETE CASCADE,
    group_id                       text,
    shared_relationship_type       text,
    access_level                   text NOT NULL DEFAULT 'read',
    invitee_secure_code            text NOT NULL,
    invitee_secure_code_created_at timestamp NOT NULL DEFAULT now(),
    created_at                     timestamp NOT NULL DEFAULT now()
);

CREATE TABLE gallery_share (
    id                             text PRIMARY KEY DEFAULT gen_random_uuid(),
    gallery_id                     text NOT NULL REFERENCES gallery (id) ON DELETE CASCADE,
    owner_id                       text NOT NULL REFERENCES all_user (id) ON DELETE CASCADE,
    shared_with_type               text NOT NULL,
    shared_with_id                 text REFERENCES all_user (id) ON DELETE CASCADE,
    group_id                       text,
    shared_relationship_type       text,
    access_level                   text NOT NULL DEFAULT 'read',
    invitee_secure_code            text NOT NULL,
    invitee_secure_code_created_at timestamp NOT NULL DEFAULT now(),
    created_at                     timestamp NOT NULL DEFAULT now()
);
