-- Make a scheduled or retrying job ready at once. Locks: its deferred row; staging in progress is waited for.
-- Index: deferred's primary key. Returns its queue.
WITH taken AS (
    DELETE FROM taskflow.deferred d
    WHERE d.job_id = :job_id
    RETURNING d.job_id, d.namespace, d.queue, d.kind, d.priority, d.attempt, d.failures, d.crashes, d.suspect,
        d.holds_key, d.expires_at
)
INSERT INTO taskflow.ready
    (job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, holds_key, expires_at)
SELECT
    job_id, namespace, queue, kind, priority, coalesce(:now::timestamptz, statement_timestamp()), attempt, failures,
    crashes, suspect, holds_key, expires_at
FROM taken
RETURNING queue;
