-- Keep the answer beside the key that this transaction claimed. Lock: the row, already ours. Index: the primary key.
UPDATE taskflow.idempotency_key
SET status = :status::smallint, headers = :headers::text::jsonb, body = :body::bytea
WHERE principal_id = :principal_id::uuid AND route = :route::text AND key = :key::text;
