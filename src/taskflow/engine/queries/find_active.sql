-- Of some jobs, those that workers hold. Locks: none. Leases are scanned: there are as many as batches in flight.
SELECT u.job_id
FROM taskflow.lease l
CROSS JOIN unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
WHERE u.job_id = ANY(:job_ids::uuid[]) AND get_bit(l.open, u.ord::integer - 1) = 1;
