-- Delete a key whose time is up, so that it can be claimed again. Lock: the row; waits for whoever frees it too.
-- Index: the primary key.
DELETE FROM taskflow.idempotency_key
WHERE principal_id = :principal_id::uuid AND route = :route::text AND key = :key::text
    AND created_at <= coalesce(:now::timestamptz, statement_timestamp()) - :kept::interval;
