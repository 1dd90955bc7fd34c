-- Jobs of a namespace that have not ended, by state and queue. Of each table the first :limit rows are looked at, of
-- leases the first :active_limit open jobs; reached says whose count may go on behind that. Locks: none.
-- Index: job's primary key, for those that run: a lease does not know whose they are.
WITH pending AS MATERIALIZED (
    SELECT r.namespace, r.queue FROM taskflow.ready r LIMIT :limit
), later AS MATERIALIZED (
    SELECT d.namespace, d.queue, d.state FROM taskflow.deferred d LIMIT :limit
), held AS MATERIALIZED (
    SELECT u.job_id
    FROM taskflow.lease l
    CROSS JOIN LATERAL unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
    WHERE get_bit(l.open, u.ord::integer - 1) = 1
    LIMIT :active_limit
), active AS MATERIALIZED (
    SELECT j.namespace, j.queue
    FROM held h
    CROSS JOIN LATERAL (SELECT x.namespace, x.queue FROM taskflow.job x WHERE x.id = h.job_id LIMIT 1) AS j
)
SELECT 'pending' AS state, queue, count(*)::integer AS jobs, (SELECT count(*) FROM pending) >= :limit AS reached
FROM pending WHERE namespace = :namespace GROUP BY queue
UNION ALL
SELECT state, queue, count(*)::integer, (SELECT count(*) FROM later) >= :limit
FROM later WHERE namespace = :namespace GROUP BY state, queue
UNION ALL
SELECT 'active', queue, count(*)::integer, (SELECT count(*) FROM held) >= :active_limit
FROM active WHERE namespace = :namespace GROUP BY queue
ORDER BY state, queue;
