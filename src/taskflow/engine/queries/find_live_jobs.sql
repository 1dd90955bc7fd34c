-- Of some jobs, those that are there and have not ended. Indexes: job's primary key, done_job.
SELECT j.id
FROM unnest(:job_ids::uuid[]) AS g(id)
CROSS JOIN LATERAL (SELECT x.id, x.namespace, x.created_at FROM taskflow.job x WHERE x.id = g.id LIMIT 1) AS j
WHERE NOT EXISTS (
    SELECT FROM taskflow.done d
    WHERE d.namespace = j.namespace AND d.state IN ('completed', 'failed', 'cancelled') AND d.job_id = j.id
      AND d.finished_at >= j.created_at - interval '1 hour'
);
