-- Which jobs hold these unique keys. A key whose window is over is held by nobody.
-- Locks: none. Index: the primary key of unique_claim.
SELECT g.ord::integer - 1 AS place, u.job_id
FROM unnest(:namespaces::uuid[], :kinds::text[], :keys::text[]) WITH ORDINALITY AS g(namespace, kind, key, ord)
CROSS JOIN LATERAL (
    SELECT * FROM taskflow.unique_claim x
    WHERE x.namespace = g.namespace AND x.kind = g.kind AND x.key = g.key
      AND (x.held_until IS NULL OR x.held_until > coalesce(:now::timestamptz, statement_timestamp()))
    LIMIT 1
) AS u;
