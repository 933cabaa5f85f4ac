-- Users in another database.
DROP TABLE users CASCADE;
