-- A namespace's deliveries of one status below :before, newest first. Locks: none. Index: webhook_delivery_status.
SELECT id, namespace, job_id, kind, event, error, ended_at, status, created_at, settled_at
FROM taskflow.webhook_delivery
WHERE (namespace, status, id) < (:namespace::uuid, :status::text, :before::uuid)
    AND namespace = :namespace AND status = :status
ORDER BY namespace DESC, status DESC, id DESC
LIMIT :limit::integer;
