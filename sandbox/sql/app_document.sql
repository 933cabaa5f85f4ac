-- The app's tables as in the design document: plural names, uuid ids, times in UTC without a zone.
-- The url columns are required there; rows written before that was so have none.
CREATE TABLE users (
    id    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name  text,
    email text UNIQUE,
    image text
);

CREATE TABLE all_users (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    type       text NOT NULL,
    user_id    uuid REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE images (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          uuid NOT NULL REFERENCES all_users (id) ON DELETE CASCADE,
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

CREATE TABLE videos (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          uuid NOT NULL REFERENCES all_users (id) ON DELETE CASCADE,
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

CREATE TABLE notes (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          uuid NOT NULL REFERENCES all_users (id) ON DELETE CASCADE,
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

CREATE TABLE documents (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          uuid NOT NULL REFERENCES all_users (id) ON DELETE CASCADE,
    url               text,
    title             text,
    description       text,
    mime_type         text NOT NULL,
    size              text NOT NULL,
    is_public         boolean NOT NULL DEFAULT false,
    owner_secure_code text NOT NULL,
    parent_folder_id  text,
    created_at        timestamp NOT NULL DEFAULT now(),
    updated_at        timestamp NOT NULL DEFAULT now(),
    metadata          json
);

CREATE TABLE audio (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id          uuid NOT NULL REFERENCES all_users (id) ON DELETE CASCADE,
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

CREATE TABLE galleries (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id    uuid NOT NULL REFERENCES all_users (id) ON DELETE CASCADE,
    title       text NOT NULL,
    description text,
    is_public   boolean NOT NULL DEFAULT false,
    created_at  timestamp NOT NULL DEFAULT now(),
    updated_at  timestamp NOT NULL DEFAULT now()
);

CREATE TABLE gallery_items (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    gallery_id  uuid NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    memory_id   uuid NOT NULL,
    memory_type text NOT NULL,
    position    integer NOT NULL,
    caption     text,
    is_featured boolean NOT NULL DEFAULT false,
    metadata    json NOT NULL DEFAULT '{}',
    created_at  timestamp NOT NULL DEFAULT now(),
    updated_at  timestamp NOT NULL DEFAULT now()
);
CREATE INDEX gallery_items_gallery_position_idx ON gallery_items (gallery_id, position);
CREATE INDEX gallery_items_memory_idx ON gallery_items (memory_id, memory_type);

CREATE TABLE memory_shares (
    id                             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    memory_id                      uuid NOT NULL,
    memory_type                    text NOT NULL,
    owner_id                       uuid NOT NULL REFERENCES all_users (id) ON DELETE CASCADE,
    shared_with_type               text NOT NULL,
    shared_with_id                 uuid REFERENCES all_users (id) ON DELETE CASCADE,
    group_id                       text,
    shared_relationship_type       text,
    access_level                   text NOT NULL DEFAULT 'read',
    invitee_secure_code            text NOT NULL,
    invitee_secure_code_created_at timestamp NOT NULL DEFAULT now(),
    created_at                     timestamp NOT NULL DEFAULT now()
);

CREATE TABLE gallery_shares (
    id                             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    gallery_id                     uuid NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    owner_id                       uuid NOT NULL REFERENCES all_users (id) ON DELETE CASCADE,
    shared_with_type               text NOT NULL,
    shared_with_id                 uuid REFERENCES all_users (id) ON DELETE CASCADE,
    group_id                       text,
    shared_relationship_type       text,
    access_level                   text NOT NULL DEFAULT 'read',
    invitee_secure_code            text NOT NULL,
    invitee_secure_code_created_at timestamp NOT NULL DEFAULT now(),
    created_at                     timestamp NOT NULL DEFAULT now()
);
