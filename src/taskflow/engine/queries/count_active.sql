-- Jobs that run, per worker and queue, counted no further than :limit in all. Leases are scanned: there are as many as
-- batches in flight. Index: job's primary key, once per job in flight.
WITH held AS MATERIALIZED (
    SELECT l.worker_id, u.job_id
    FROM taskflow.lease l
    CROSS JOIN unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
    WHERE get_bit(l.open, u.ord::integer - 1) = 1
    LIMIT :limit
)
SELECT h.worker_id, j.queue, count(*)::integer AS jobs
FROM held h
CROSS JOIN LATERAL (SELECT x.queue FROM taskflow.job x WHERE x.id = h.job_id LIMIT 1) AS j
GROUP BY h.worker_id, j.queue;
