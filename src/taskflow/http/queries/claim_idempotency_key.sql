-- Claim a key for the write of this transaction. No row: somebody has it.
-- Lock: the row, until the transaction ends; waits for a twin that has not ended, at most the session's lock_timeout.
-- A row that is there already is neither locked nor written. Index: the primary key.
INSERT INTO taskflow.idempotency_key (principal_id, route, key, namespace, fingerprint, created_at)
VALUES (
    :principal_id::uuid, :route::text, :key::text, :namespace::uuid, :fingerprint::bytea,
    coalesce(:now::timestamptz, statement_timestamp())
)
ON CONFLICT (principal_id, route, key) DO NOTHING
RETURNING 1;
