-- Lines of one job in the order they were written, after :after_seq. Index: job_log_job.
SELECT seq, attempt, at, level, message
FROM taskflow.job_log
WHERE job_id = :job_id AND at >= :created_at::timestamptz - interval '1 hour' AND seq > :after_seq
ORDER BY seq
LIMIT :limit;
