-- The app wrote some edges twice while nothing forbade it.
DROP INDEX IF EXISTS uq_edge;
INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present)
SELECT id, 'image', 'metadata', 'neon-db', true FROM images, generate_series(1, 2) AS n ORDER BY id LIMIT 4;
