-- Files of a namespace that are kept still, newest first, below :before. Locks: none. Index: file_list.
SELECT id, namespace, name, size, type, sha256, job_id, created_at, expires_at
FROM taskflow.file
WHERE namespace = :namespace::uuid AND id < :before::uuid
  AND (expires_at IS NULL OR expires_at > coalesce(:now::timestamptz, now()))
ORDER BY id DESC
LIMIT :limit::integer;
