-- The file of that content that a job made. Locks: none. Index: file_made.
SELECT id, namespace, name, size, type, sha256, job_id, created_at, expires_at
FROM taskflow.file
WHERE job_id = :job_id::uuid AND sha256 = :sha256::bytea;
