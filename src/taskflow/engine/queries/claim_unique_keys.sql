-- Claim the unique keys of jobs that are about to be stored in this transaction, and give ids to all of them, in order;
-- with :ids, those of an earlier look at the same jobs. A row whose key is not won is not to be stored: somebody holds
-- the key (find_unique_holders.sql says who), or a twin comes earlier in the same call. Keys are claimed in their order,
-- so that two calls with the same keys never wait in a circle.
-- Locks: the new rows; waits for whoever claims the same key in a transaction that has not ended. A key that is held
-- is neither locked nor written. Index: the primary key.
WITH given AS MATERIALIZED (
    SELECT
        g.namespace, g.kind, g.key, g.scope, g.window_length, g.ord,
        coalesce(g.earlier_id, taskflow.uuid_v7(
            coalesce(:now::timestamptz, statement_timestamp()) + g.ord * interval '1 microsecond'
        )) AS id
    FROM unnest(
        :namespaces::uuid[], :kinds::text[], :keys::text[], :scopes::text[], :windows::interval[], :ids::uuid[]
    ) WITH ORDINALITY AS g(namespace, kind, key, scope, window_length, earlier_id, ord)
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
SELECT g.id, g.key IS NULL OR EXISTS (SELECT FROM won w WHERE w.job_id = g.id) AS is_won
FROM given g
ORDER BY g.ord;
