-- Each kind with the schema published last. Locks: none. Index: kind's primary key.
SELECT DISTINCT ON (name) name, queue, schema, priority, retries, timeout_ms, namespace
FROM taskflow.kind
ORDER BY name, published_at DESC, schema_hash;
