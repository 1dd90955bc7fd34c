-- What the attempts of a delivery met, oldest first. Locks: none. Index: webhook_response's primary key.
SELECT attempt, at, duration_ms, status, excerpt, fault
FROM taskflow.webhook_response
WHERE delivery_id = :delivery_id::uuid
ORDER BY attempt
LIMIT :limit::integer;
