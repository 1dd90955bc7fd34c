-- What was answered to this key. Locks: none. Index: the primary key.
SELECT fingerprint, status, headers, body
FROM taskflow.idempotency_key
WHERE principal_id = :principal_id::uuid AND route = :route::text AND key = :key::text;
