-- A file that is kept still; of any namespace if none is given (a signed link names none).
-- Locks: none. Index: file's primary key, or file_list, of which either finds one row.
SELECT id, namespace, name, size, type, sha256, job_id, created_at, expires_at
FROM taskflow.file
WHERE id = :id::uuid AND (:namespace::uuid IS NULL OR namespace = :namespace)
  AND (expires_at IS NULL OR expires_at > coalesce(:now::timestamptz, now()));
