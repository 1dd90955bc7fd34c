-- Of flushed attempts that were refused, those that an earlier try of the same flush had written down after all.
-- An attempt number belongs to one claim only, so (job, attempt) is enough to know our own writing again.
-- Locks: none. Indexes: done_job, attempt_log_job.
SELECT g.lease_id, g.position
FROM unnest(
    :lease_ids::uuid[], :positions::integer[], :job_ids::uuid[], :namespaces::uuid[], :attempts::integer[],
    :outcomes::text[]
) AS g(lease_id, position, job_id, namespace, attempt, outcome)
WHERE EXISTS (
    SELECT FROM taskflow.done d
    WHERE d.namespace = g.namespace AND d.state = 'completed' AND d.job_id = g.job_id
      AND d.attempt = g.attempt AND g.outcome = 'completed'
) OR EXISTS (
    SELECT FROM taskflow.attempt_log a
    WHERE a.job_id = g.job_id AND a.attempt = g.attempt AND a.outcome = g.outcome AND g.outcome <> 'completed'
);
