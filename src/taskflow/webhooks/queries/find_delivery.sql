-- One delivery; of :namespace only, unless that is null. Locks: none. Index: webhook_delivery's primary key.
SELECT id, namespace, job_id, kind, event, error, ended_at, status, created_at, settled_at
FROM taskflow.webhook_delivery
WHERE id = :id::uuid AND (:namespace::uuid IS NULL OR namespace = :namespace);
