-- Append lines of attempts whose claim still stands; others are dropped. Locks: none, a line is no decision.
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
JOIN taskflow.lease l ON l.id = g.lease_id AND get_bit(l.open, g.position) = 1
ORDER BY g.ord;
