-- What was answered to this key, and whether its time is up. Locks: none. Index: the primary key.
SELECT
    fingerprint, status, headers, body,
    created_at <= coalesce(:now::timestamptz, statement_timestamp()) - :kept::interval AS expired
FROM taskflow.idempotency_key
WHERE principal_id = :principal_id::uuid AND route = :route::text AND key = :key::text;
