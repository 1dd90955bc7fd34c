-- Cancel a job that nobody holds. Locks: its ready or deferred row; a claim in progress is waited for, then finds it gone.
-- Returns a row if it did, and counts it in stat_delta. Indexes: the primary keys of ready and deferred.
WITH from_ready AS (
    DELETE FROM taskflow.ready r
    WHERE r.job_id = :job_id
    RETURNING r.job_id, r.namespace, r.queue, r.kind, r.attempt, r.failures
), from_deferred AS (
    DELETE FROM taskflow.deferred d
    WHERE d.job_id = :job_id
    RETURNING d.job_id, d.namespace, d.queue, d.kind, d.attempt, d.failures
), taken AS (
    SELECT t.*, coalesce(:now::timestamptz, statement_timestamp()) AS at
    FROM (SELECT * FROM from_ready UNION ALL SELECT * FROM from_deferred) AS t
), counted AS (
    INSERT INTO taskflow.stat_delta (namespace, hour, queue, kind, state, measure, bucket, jobs)
    SELECT namespace, date_bin('1 hour', at, '2000-01-01 00:00:00+00'), queue, kind, 'cancelled', 'run', 0, 1 FROM taken
)
INSERT INTO taskflow.done (job_id, namespace, queue, kind, state, attempt, failures, finished_at)
SELECT job_id, namespace, queue, kind, 'cancelled', attempt, failures, at FROM taken
RETURNING job_id;
