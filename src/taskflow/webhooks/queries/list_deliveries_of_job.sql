-- The deliveries of one job below :before, newest first: one per end, so a few. Locks: none.
-- Index: webhook_delivery_end. What is IS TRUE is a filter and can be nothing else: the planner shall not go through a
-- namespace for one job.
SELECT id, namespace, job_id, kind, event, error, ended_at, status, created_at, settled_at
FROM taskflow.webhook_delivery
WHERE job_id = :job_id::uuid
    AND (namespace = :namespace::uuid) IS TRUE AND (id < :before::uuid) IS TRUE
    AND (:status::text IS NULL OR status = :status)
ORDER BY job_id DESC, ended_at DESC, id DESC
LIMIT :limit::integer;
