-- Run a failed job again: the same job, its history kept, its failures and crashes forgiven, its attempts counted on.
-- Locks: its done row, so that of two replays one finds nothing. Index: done_job.
WITH failed AS (
    DELETE FROM taskflow.done d
    WHERE d.namespace = :namespace AND d.state = 'failed' AND d.job_id = :job_id AND d.finished_at >= :created_at::timestamptz - interval '1 hour'
    RETURNING d.job_id, d.namespace, d.queue, d.kind, d.attempt
)
INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures)
SELECT
    job_id, namespace, queue, kind, :priority, coalesce(:now::timestamptz, statement_timestamp()), attempt, 0
FROM failed
RETURNING queue;
