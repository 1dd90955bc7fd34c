-- Some kinds, each with the schema published last. Index: kind's primary key.
SELECT k.name, k.queue, k.schema, k.schema_hash, k.priority, k.retries, k.timeout_ms, k.namespace
FROM unnest(:names::text[]) AS g(name)
CROSS JOIN LATERAL (
    SELECT * FROM taskflow.kind x WHERE x.name = g.name ORDER BY x.published_at DESC, x.schema_hash LIMIT 1
) AS k;
