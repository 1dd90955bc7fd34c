-- Delete a file of a namespace; no row if there is none that is kept still. Locks: that row.
-- Index: file's primary key, or file_list, of which either finds one row.
DELETE FROM taskflow.file
WHERE id = :id::uuid AND namespace = :namespace::uuid
  AND (expires_at IS NULL OR expires_at > coalesce(:now::timestamptz, now()))
RETURNING id;
