-- Run a job again that ended in :state: the same job, its history kept, its failures and crashes forgiven, its attempts counted on.
-- Locks: its done row, so that of two replays one finds nothing. Index: done_job.
WITH ended AS (
    DELETE FROM taskflow.done d
    WHERE d.namespace = :namespace AND d.state = :state::text AND d.job_id = :job_id AND d.finished_at >= :created_at::timestamptz - interval '1 hour'
    RETURNING d.job_id, d.namespace, d.queue, d.kind, d.state, d.attempt, d.started_at, d.finished_at
), succeeded AS (
    -- An attempt that succeeded is told by its done row alone, which goes.
    INSERT INTO taskflow.attempt_log (job_id, namespace, attempt, outcome, started_at, finished_at)
    SELECT job_id, namespace, attempt, 'completed', started_at, finished_at FROM ended WHERE state = 'completed'
)
INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures)
SELECT
    job_id, namespace, queue, kind, :priority, coalesce(:now::timestamptz, statement_timestamp()), attempt, 0
FROM ended
RETURNING queue;
