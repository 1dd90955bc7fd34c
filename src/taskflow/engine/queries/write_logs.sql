-- Append lines of attempts whose claim still stands, or that have completed: an attempt that ends in a transaction of its
-- own (complete_one.sql) has lines on their way. Others are dropped. Locks: none, a line is no decision.
-- Indexes: lease's primary key; done_job, looked at only where the lease does not answer. A line comes no later after the
-- end of its attempt than the longest timeout, a day.
INSERT INTO taskflow.job_log (job_id, namespace, seq, attempt, level, message, at)
SELECT g.job_id, g.namespace, nextval('taskflow.job_log_seq'), g.attempt, g.level, g.message,
    coalesce(:now::timestamptz, statement_timestamp()) - g.age_s * interval '1 second'
FROM (
    SELECT *
    FROM unnest(
        :lease_ids::uuid[], :positions::integer[], :job_ids::uuid[], :namespaces::uuid[], :attempts::integer[],
        :levels::text[], :messages::text[], :ages_s::double precision[]
    ) WITH ORDINALITY AS g(lease_id, position, job_id, namespace, attempt, level, message, age_s, ord)
    ORDER BY ord
) AS g
WHERE EXISTS (
    SELECT FROM taskflow.lease l WHERE l.id = g.lease_id AND get_bit(l.open, g.position) = 1
) OR EXISTS (
    SELECT FROM taskflow.done d
    WHERE d.namespace = g.namespace AND d.state = 'completed' AND d.job_id = g.job_id AND d.attempt = g.attempt
      AND d.finished_at >= coalesce(:now::timestamptz, statement_timestamp()) - (g.age_s + 90000) * interval '1 second'
)
ORDER BY g.ord;
