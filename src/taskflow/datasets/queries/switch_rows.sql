-- Make a dataset's rows those given: one statement, so nobody sees half of it. A row whose hash is the same is left alone.
-- Returns how many were added, changed and removed. The dataset's row is held by the caller.
-- Locks: the rows that change. Index: dataset_row's primary key.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(:keys::text[], :rows::text[], :hashes::bytea[]) AS g(key, row, hash)
), gone AS (
    DELETE FROM taskflow.dataset_row r
    WHERE r.namespace = :namespace::uuid AND r.dataset = :dataset::text
        AND NOT EXISTS (SELECT FROM given g WHERE g.key = r.key)
    RETURNING 1
), written AS (
    INSERT INTO taskflow.dataset_row AS r (namespace, dataset, key, row, hash, changed_at)
    SELECT :namespace::uuid, :dataset::text, key, row::jsonb, hash, statement_timestamp() FROM given
    ON CONFLICT (namespace, dataset, key) DO UPDATE
    SET row = excluded.row, hash = excluded.hash, changed_at = excluded.changed_at
    WHERE r.hash <> excluded.hash
    RETURNING r.xmax = 0 AS is_new
)
SELECT
    (SELECT count(*) FROM written WHERE is_new)::integer AS added,
    (SELECT count(*) FROM written WHERE NOT is_new)::integer AS changed,
    (SELECT count(*) FROM gone)::integer AS removed;
