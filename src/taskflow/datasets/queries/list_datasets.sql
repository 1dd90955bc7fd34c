-- A namespace's datasets above :after, by name. Locks: none. Index: dataset's primary key.
SELECT name, source, etag, last_modified, version, row_count, created_at, synced_at, changed_at
FROM taskflow.dataset
WHERE namespace = :namespace::uuid AND name > :after::text
ORDER BY namespace, name
LIMIT :limit::integer;
