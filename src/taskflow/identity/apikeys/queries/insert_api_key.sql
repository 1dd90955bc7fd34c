-- Store a new key by its hash. Locks: none. Index: api_key_hash refuses a repeated one.
INSERT INTO taskflow.api_key (id, namespace, name, hash, hint, scopes, created_at, expires_at)
VALUES (
    taskflow.uuid_v7(coalesce(:now::timestamptz, statement_timestamp())), :namespace::uuid, :name::text,
    :hash::bytea, :hint::text, :scopes::text[], coalesce(:now::timestamptz, statement_timestamp()),
    coalesce(:now::timestamptz, statement_timestamp()) + :lifetime::interval
)
RETURNING id, namespace, name, hint, scopes, created_at, expires_at, revoked_at;
