-- Make kinds known with their schema and defaults. A schema that was seen before keeps its place among the kind's
-- schemas, so an old worker undoes no new one; its defaults are those of the worker that started last.
-- Locks: rows whose defaults change. Index: kind's primary key.
INSERT INTO taskflow.kind (name, schema_hash, queue, schema, priority, retries, timeout_ms, published_at)
SELECT g.name, g.schema_hash, g.queue, g.schema::jsonb, g.priority, g.retries, g.timeout_ms,
    coalesce(:now::timestamptz, statement_timestamp())
FROM unnest(
    :names::text[], :schema_hashes::text[], :queues::text[], :schemas::text[], :priorities::smallint[],
    :retries::smallint[], :timeouts_ms::integer[]
) AS g(name, schema_hash, queue, schema, priority, retries, timeout_ms)
ON CONFLICT (name, schema_hash) DO UPDATE SET
    queue = excluded.queue,
    priority = excluded.priority,
    retries = excluded.retries,
    timeout_ms = excluded.timeout_ms
WHERE (kind.queue, kind.priority, kind.retries, kind.timeout_ms)
    IS DISTINCT FROM (excluded.queue, excluded.priority, excluded.retries, excluded.timeout_ms);
