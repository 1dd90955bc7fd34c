-- Claim a key for the write of this transaction, or take over one whose time is up. No row: somebody has it.
-- Lock: the row, until the transaction ends; waits for a twin that has not ended, at most the session's lock_timeout.
-- Index: the primary key.
INSERT INTO taskflow.idempotency_key AS held (principal_id, route, key, namespace, fingerprint, created_at)
VALUES (
    :principal_id::uuid, :route::text, :key::text, :namespace::uuid, :fingerprint::bytea,
    coalesce(:now::timestamptz, statement_timestamp())
)
ON CONFLICT (principal_id, route, key) DO UPDATE
SET fingerprint = excluded.fingerprint, created_at = excluded.created_at, status = NULL, headers = NULL, body = NULL
WHERE held.created_at <= excluded.created_at - :kept::interval
RETURNING 1;
