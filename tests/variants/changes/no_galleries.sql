-- An app without galleries.
DROP TABLE gallery_shares, gallery_items, galleries CASCADE;
