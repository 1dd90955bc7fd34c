-- How an ended job ended. Index: done_job, three probes in each partition from the job's day on.
SELECT d.state, d.attempt
FROM taskflow.done d
WHERE d.namespace = :namespace AND d.state = ANY('{completed,failed,cancelled}'::text[]) AND d.job_id = :job_id
  AND d.finished_at >= :created_at::timestamptz - interval '1 hour';
