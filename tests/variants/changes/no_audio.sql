-- An app that never had recordings.
DROP TABLE audio;
