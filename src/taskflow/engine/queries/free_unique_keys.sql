-- Free unique keys whose window is over, so that they can be claimed again.
-- Locks: their rows, in order; waits for whoever frees them too. Index: the primary key.
DELETE FROM taskflow.unique_claim
WHERE ctid = ANY(ARRAY(
    SELECT u.ctid
    FROM unnest(:namespaces::uuid[], :kinds::text[], :keys::text[]) AS g(namespace, kind, key)
    CROSS JOIN LATERAL (
        SELECT x.ctid, x.namespace, x.kind, x.key FROM taskflow.unique_claim x
        WHERE x.namespace = g.namespace AND x.kind = g.kind AND x.key = g.key
          AND x.held_until <= coalesce(:now::timestamptz, statement_timestamp())
    ) AS u
    ORDER BY u.namespace, u.kind, u.key
    FOR UPDATE
));
