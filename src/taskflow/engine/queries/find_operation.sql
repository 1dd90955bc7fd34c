-- One operation. Locks: none. Index: the primary key.
SELECT id, namespace, action, filter, state, below, done, failed, job_id, created_at, finished_at
FROM taskflow.operation
WHERE id = :operation_id AND (:namespace::uuid IS NULL OR namespace = :namespace);
