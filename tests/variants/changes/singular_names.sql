-- Every table of the app in the singular.
ALTER TABLE users RENAME TO "user";
ALTER TABLE all_users RENAME TO all_user;
ALTER TABLE images RENAME TO image;
ALTER TABLE videos RENAME TO video;
ALTER TABLE notes RENAME TO note;
ALTER TABLE documents RENAME TO document;
ALTER TABLE galleries RENAME TO gallery;
ALTER TABLE gallery_items RENAME TO gallery_item;
