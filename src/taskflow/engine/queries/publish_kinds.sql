-- Make kinds known with their schema. A schema that was seen before changes nothing: an old worker undoes no new one.
INSERT INTO taskflow.kind (name, schema_hash, queue, schema, priority, retries, timeout_ms, published_at)
SELECT g.name, g.schema_hash, g.queue, g.schema::jsonb, g.priority, g.retries, g.timeout_ms,
    coalesce(:now::timestamptz, statement_timestamp())
FROM unnest(
    :names::text[], :schema_hashes::text[], :queues::text[], :schemas::text[], :priorities::smallint[],
    :retries::smallint[], :timeouts_ms::integer[]
) AS g(name, schema_hash, queue, schema, priority, retries, timeout_ms)
ON CONFLICT (name, schema_hash) DO NOTHING;
