-- How those of several jobs that have ended did. Index: done_job, three probes per job in each partition from its day on.
SELECT f.ord::integer - 1 AS position, d.state
FROM unnest(:namespaces::uuid[], :job_ids::uuid[], :created_ats::timestamptz[])
    WITH ORDINALITY AS f(namespace, job_id, created_at, ord)
CROSS JOIN LATERAL (
    SELECT x.state
    FROM taskflow.done x
    WHERE x.namespace = f.namespace AND x.state = ANY('{completed,failed,cancelled}'::text[])
      AND x.job_id = f.job_id AND x.finished_at >= f.created_at - interval '1 hour'
    LIMIT 1
) AS d;
