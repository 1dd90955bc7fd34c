-- Attempts of workers over HTTP that are long over and were not ended by their worker: those :grace_s past the job's
-- timeout, and those that were asked to cancel so long ago. Workers of our own watch their jobs themselves.
-- Locks: none. Indexes: the primary keys of worker and job. The table lease is as small as the work in flight; OFFSET 0
-- has each lease's worker looked up once, before its jobs.
SELECT f.lease_id, f.position, f.is_cancelled
FROM (
    SELECT
        l.id AS lease_id, (u.ord - 1)::integer AS position, u.job_id, l.claimed_at,
        coalesce(:now::timestamptz, statement_timestamp()) - :grace_s::double precision * interval '1 second' AS limit_at,
        coalesce(
            (l.cancels ->> (u.ord - 1)::text)::timestamptz
                < coalesce(:now::timestamptz, statement_timestamp()) - :grace_s::double precision * interval '1 second',
            false
        ) AS is_cancelled
    FROM (
        SELECT old.*
        FROM taskflow.lease old
        WHERE old.claimed_at
                < coalesce(:now::timestamptz, statement_timestamp()) - :grace_s::double precision * interval '1 second'
          AND EXISTS (SELECT FROM taskflow.worker w WHERE w.id = old.worker_id AND w.namespace IS NOT NULL)
        OFFSET 0
    ) AS l
    CROSS JOIN unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
    WHERE get_bit(l.open, u.ord::integer - 1) = 1
) AS f
CROSS JOIN LATERAL (SELECT x.timeout_ms FROM taskflow.job x WHERE x.id = f.job_id LIMIT 1) AS j
WHERE f.is_cancelled OR f.claimed_at + j.timeout_ms * interval '1 ms' < f.limit_at
ORDER BY f.claimed_at, f.lease_id, f.position
LIMIT :limit;
