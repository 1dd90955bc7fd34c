-- Claim the unique keys of jobs that are about to be stored in this transaction, and give ids to all of them, in order.
-- A row whose key is not won has no id: somebody holds it (find_unique_holders.sql says who), or a twin comes earlier
-- in the same call. Keys are claimed in their order, so that two calls with the same keys never wait in a circle.
-- Locks: the new rows; waits for whoever claims the same key in a transaction that has not ended. A key that is held
-- is neither locked nor written. Index: the primary key.
WITH given AS MATERIALIZED (
    SELECT g.*, taskflow.uuid_v7(
        coalesce(:now::timestamptz, statement_timestamp()) + g.ord * interval '1 microsecond'
    ) AS id
    FROM unnest(
        :namespaces::uuid[], :kinds::text[], :keys::text[], :scopes::text[], :windows::interval[]
    ) WITH ORDINALITY AS g(namespace, kind, key, scope, window_length, ord)
), won AS (
    INSERT INTO taskflow.unique_claim (namespace, kind, key, job_id, scope, held_until)
    SELECT f.namespace, f.kind, f.key, f.id, f.scope, f.held_until
    FROM (
        SELECT DISTINCT ON (g.namespace, g.kind, g.key)
            g.namespace, g.kind, g.key, g.id, g.scope,
            coalesce(:now::timestamptz, statement_timestamp()) + g.window_length AS held_until
        FROM given g
        WHERE g.key IS NOT NULL
        ORDER BY g.namespace, g.kind, g.key, g.ord
    ) AS f
    ORDER BY f.namespace, f.kind, f.key
    ON CONFLICT (namespace, kind, key) DO NOTHING
    RETURNING job_id
)
SELECT CASE WHEN g.key IS NULL OR EXISTS (SELECT FROM won w WHERE w.job_id = g.id) THEN g.id END AS id
FROM given g
ORDER BY g.ord;
