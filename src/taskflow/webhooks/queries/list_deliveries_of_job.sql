-- The deliveries of one job below :before, newest first: one per end, so a few. Locks: none.
-- Index: webhook_delivery_end.
SELECT id, namespace, job_id, kind, event, error, ended_at, status, created_at, settled_at
FROM taskflow.webhook_delivery
WHERE job_id = :job_id::uuid AND namespace = :namespace::uuid AND id < :before::uuid
    AND (:status::text IS NULL OR status = :status)
ORDER BY ended_at DESC, id DESC
LIMIT :limit::integer;
