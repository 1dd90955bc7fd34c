-- Whose key has this hash, if it is valid now, and for how long it stays so. Locks: none. Index: api_key_hash.
SELECT
    id, namespace, name, hash, scopes,
    extract(epoch FROM expires_at - coalesce(:now::timestamptz, statement_timestamp()))::double precision AS valid_s
FROM taskflow.api_key
WHERE hash = :hash::bytea
    AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > coalesce(:now::timestamptz, statement_timestamp()));
