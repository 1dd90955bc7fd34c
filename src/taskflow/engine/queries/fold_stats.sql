-- Move up to :limit rows of stat_delta into stat_hour; returns how many. A row is deleted and added in one statement, so
-- it counts once whoever folds: of two that take the same row, one waits and then finds it gone.
-- Locks: the rows taken, and the hours they belong to, in the order of the key. Index: stat_hour's primary key.
WITH taken AS MATERIALIZED (
    DELETE FROM taskflow.stat_delta
    WHERE ctid = ANY(ARRAY(SELECT d.ctid FROM taskflow.stat_delta d LIMIT :limit))
    RETURNING namespace, hour, queue, kind, state, measure, bucket, jobs
), folded AS (
    INSERT INTO taskflow.stat_hour AS s (namespace, hour, queue, kind, state, measure, bucket, jobs)
    SELECT namespace, hour, queue, kind, state, measure, bucket, sum(jobs)
    FROM taken
    GROUP BY namespace, hour, queue, kind, state, measure, bucket
    ORDER BY namespace, hour, queue, kind, state, measure, bucket
    ON CONFLICT (namespace, hour, queue, kind, state, measure, bucket) DO UPDATE SET jobs = s.jobs + excluded.jobs
)
SELECT count(*)::integer FROM taken;
