-- The keys of a namespace, newest first. Locks: none. Index: api_key_list.
SELECT id, namespace, name, hint, scopes, created_at, expires_at, revoked_at
FROM taskflow.api_key
WHERE namespace = :namespace::uuid
ORDER BY id DESC
LIMIT :limit::integer;
