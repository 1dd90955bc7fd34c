-- The attempts of a job that ended, oldest first: those that did not succeed, then the one that did.
-- Indexes: attempt_log_job, done_job.
SELECT a.attempt, a.outcome, a.error, a.started_at, a.finished_at, a.retry_at
FROM taskflow.attempt_log a
WHERE a.job_id = :job_id AND a.finished_at >= :created_at::timestamptz - interval '1 hour'
UNION ALL
SELECT d.attempt, 'completed', NULL, d.started_at, d.finished_at, NULL
FROM taskflow.done d
WHERE d.namespace = :namespace AND d.state = 'completed' AND d.job_id = :job_id AND d.finished_at >= :created_at::timestamptz - interval '1 hour'
ORDER BY 1;
