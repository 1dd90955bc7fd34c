-- Of some jobs, those that are there and have not ended. Indexes: job's primary key, done_job.
-- LATERAL with LIMIT 1 looks each up by itself, on a connection too that planned while done was empty.
SELECT j.id
FROM unnest(:job_ids::uuid[]) AS g(id)
CROSS JOIN LATERAL (SELECT x.id, x.namespace, x.created_at FROM taskflow.job x WHERE x.id = g.id LIMIT 1) AS j
LEFT JOIN LATERAL (
    SELECT true AS is_there
    FROM taskflow.done x
    WHERE x.namespace = j.namespace AND x.state = ANY('{completed,failed,cancelled}'::text[]) AND x.job_id = j.id
      AND x.finished_at >= j.created_at - interval '1 hour'
    LIMIT 1
) AS d ON true
WHERE d.is_there IS NULL;
