-- Empty tables that a renaming left behind.
CREATE TABLE image (LIKE images INCLUDING ALL);
CREATE TABLE gallery (LIKE galleries INCLUDING ALL);
CREATE TABLE gallery_item (LIKE gallery_items INCLUDING ALL);
