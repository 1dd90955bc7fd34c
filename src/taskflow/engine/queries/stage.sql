-- Make due jobs ready, at most :limit, soonest first. Locks: their deferred rows; rows that others hold are skipped.
-- Indexes: deferred_due, deferred's primary key. Returns the queues that got jobs.
WITH due AS (
    DELETE FROM taskflow.deferred
    WHERE ctid = ANY(ARRAY(
        SELECT d.ctid
        FROM taskflow.deferred d
        WHERE d.run_at <= coalesce(:now::timestamptz, now())
        ORDER BY d.run_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, holds_key, expires_at
), now_ready AS (
    INSERT INTO taskflow.ready
        (job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, holds_key, expires_at)
    SELECT
        job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, holds_key, expires_at
    FROM due
)
SELECT queue, count(*)::integer AS jobs FROM due GROUP BY queue ORDER BY queue;
