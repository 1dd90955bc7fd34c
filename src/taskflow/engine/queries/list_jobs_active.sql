-- Ids of active jobs, newest first, below :before. Leases are scanned: there are as many as batches in flight.
-- Index: job's primary key, once per job in flight.
SELECT j.id
FROM taskflow.lease l
CROSS JOIN unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
CROSS JOIN LATERAL (SELECT * FROM taskflow.job x WHERE x.id = u.job_id LIMIT 1) AS j
WHERE get_bit(l.open, u.ord::integer - 1) = 1
  AND j.namespace = :namespace AND u.job_id < :before AND u.job_id >= :floor
  AND (:kind::text IS NULL OR j.kind = :kind)
  AND (:queue::text IS NULL OR j.queue = :queue)
  AND (:tag::text IS NULL OR j.tags @> ARRAY[:tag::text])
ORDER BY j.id DESC
LIMIT :limit;
