-- Keep the last report of progress of each attempt whose claim still stands, or that has completed (write_logs.sql says
-- when); others are dropped.
-- Locks: the progress rows, by job id, so that two processes cannot wait for each other. Indexes: the primary keys of
-- lease and job_progress; done_job, looked at only where the lease does not answer. An attempt that was superseded while its report was on the way changes nothing.
INSERT INTO taskflow.job_progress AS p (job_id, attempt, fraction, message, at)
SELECT g.job_id, g.attempt, g.fraction, g.message,
    coalesce(:now::timestamptz, statement_timestamp()) - g.age_s * interval '1 second'
FROM unnest(
    :lease_ids::uuid[], :positions::integer[], :job_ids::uuid[], :namespaces::uuid[], :attempts::integer[],
    :fractions::real[], :messages::text[], :ages_s::double precision[]
) AS g(lease_id, position, job_id, namespace, attempt, fraction, message, age_s)
WHERE EXISTS (
    SELECT FROM taskflow.lease l WHERE l.id = g.lease_id AND get_bit(l.open, g.position) = 1
) OR EXISTS (
    SELECT FROM taskflow.done d
    WHERE d.namespace = g.namespace AND d.state = 'completed' AND d.job_id = g.job_id AND d.attempt = g.attempt
      AND d.finished_at >= coalesce(:now::timestamptz, statement_timestamp()) - (g.age_s + 90000) * interval '1 second'
)
ORDER BY g.job_id, g.attempt
ON CONFLICT (job_id) DO UPDATE SET
    attempt = excluded.attempt, fraction = excluded.fraction, message = excluded.message, at = excluded.at
WHERE excluded.attempt >= p.attempt;
