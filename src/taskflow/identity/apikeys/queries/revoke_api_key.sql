-- End a key. A key that was revoked before keeps its first time. Lock: the row.
-- Index: the primary key, or api_key_list, of which either finds one row.
UPDATE taskflow.api_key
SET revoked_at = coalesce(revoked_at, :now::timestamptz, statement_timestamp())
WHERE id = :id::uuid AND namespace = :namespace::uuid
RETURNING id, namespace, name, hash, hint, scopes, created_at, expires_at, revoked_at;
