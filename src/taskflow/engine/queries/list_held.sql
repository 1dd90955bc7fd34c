-- What one worker over HTTP holds: each open position of its leases. The table is as small as the work in flight.
SELECT
    l.id AS lease_id, (u.ord - 1)::integer AS position, u.job_id, u.attempt,
    coalesce(l.cancels ? (u.ord - 1)::text, false) AS is_cancelled,
    extract(epoch FROM coalesce(:now::timestamptz, statement_timestamp()) - l.claimed_at)::double precision AS age_s
FROM taskflow.lease l
CROSS JOIN unnest(l.job_ids, l.attempts) WITH ORDINALITY AS u(job_id, attempt, ord)
WHERE l.worker_id = :worker_id::uuid AND get_bit(l.open, u.ord::integer - 1) = 1
ORDER BY l.claimed_at, l.id, u.ord;
