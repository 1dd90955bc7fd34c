-- A namespace's deliveries below :before, newest first. Locks: none. Index: webhook_delivery_list.
-- Rows are compared and ordered as a whole: by id alone the planner would read over everybody else's.
SELECT id, namespace, job_id, kind, event, error, ended_at, status, created_at, settled_at
FROM taskflow.webhook_delivery
WHERE (namespace, id) < (:namespace::uuid, :before::uuid) AND namespace = :namespace
ORDER BY namespace DESC, id DESC
LIMIT :limit::integer;
