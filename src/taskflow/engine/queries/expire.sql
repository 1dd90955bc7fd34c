-- Fail jobs that nobody has claimed by their expires_at, at most :limit of each table, soonest first.
-- Locks: their ready and deferred rows; rows that others hold are skipped. Indexes: ready_expiry, deferred_expiry.
-- Counts them in stat_delta. Returns their ids: the caller settles them in the same transaction.
WITH from_ready AS (
    DELETE FROM taskflow.ready
    WHERE ctid = ANY(ARRAY(
        SELECT r.ctid
        FROM taskflow.ready r
        WHERE r.expires_at <= coalesce(:now::timestamptz, statement_timestamp())
        ORDER BY r.expires_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING job_id, namespace, queue, kind, attempt, failures, expires_at
), from_deferred AS (
    DELETE FROM taskflow.deferred
    WHERE ctid = ANY(ARRAY(
        SELECT d.ctid
        FROM taskflow.deferred d
        WHERE d.expires_at <= coalesce(:now::timestamptz, statement_timestamp())
        ORDER BY d.expires_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING job_id, namespace, queue, kind, attempt, failures, expires_at
), taken AS (
    SELECT t.*, coalesce(:now::timestamptz, statement_timestamp()) AS at
    FROM (SELECT * FROM from_ready UNION ALL SELECT * FROM from_deferred) AS t
), counted AS (
    INSERT INTO taskflow.stat_delta (namespace, hour, queue, kind, state, measure, bucket, jobs)
    SELECT namespace, date_bin('1 hour', at, '2000-01-01 00:00:00+00'), queue, kind, 'failed', 'run', 0, count(*)
    FROM taken
    GROUP BY 1, 2, 3, 4
)
INSERT INTO taskflow.done
    (job_id, namespace, queue, kind, state, failure_reason, attempt, failures, error, finished_at)
SELECT
    job_id, namespace, queue, kind, 'failed', 'expired', attempt, failures,
    jsonb_build_object('type', 'Expired', 'message', 'no worker had started it by its expiresAt', 'traceback', NULL),
    at
FROM taken
RETURNING job_id;
