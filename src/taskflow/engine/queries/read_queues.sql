-- Queues (one, or all whose name is above :after) with their settings, what waits in them and what runs, by name.
-- A queue is there because something names it: its settings, jobs that are ready, a worker, or a kind's default.
-- pending is counted no further than :counted. Leases are scanned: there are as many as batches in flight.
-- Indexes: ready_claim (of its queues one by one, then per queue); the primary keys of queue and job. Locks: none.
WITH RECURSIVE filled AS (
    (SELECT r.queue FROM taskflow.ready r ORDER BY r.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT r.queue FROM taskflow.ready r WHERE r.queue > f.queue ORDER BY r.queue LIMIT 1)
    FROM filled f WHERE f.queue IS NOT NULL
), working AS MATERIALIZED (
    SELECT w.id, w.queues
    FROM taskflow.worker w
    WHERE w.heartbeat_at
        >= coalesce(:now::timestamptz, now()) - coalesce(w.lease_s, :lease_s::double precision) * interval '1 second'
), running AS MATERIALIZED (
    SELECT coalesce(l.queue, j.queue) AS queue, count(*) AS active
    FROM taskflow.lease l
    CROSS JOIN unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
    LEFT JOIN LATERAL (
        SELECT x.queue FROM taskflow.job x WHERE l.queue IS NULL AND x.id = u.job_id LIMIT 1
    ) AS j ON true
    WHERE get_bit(l.open, u.ord::integer - 1) = 1
    GROUP BY 1
), named AS MATERIALIZED (
    SELECT n.name
    FROM (
        SELECT f.queue AS name FROM filled f WHERE f.queue IS NOT NULL
        UNION SELECT s.name FROM taskflow.queue s
        UNION SELECT unnest(w.queues) FROM working w
        UNION SELECT k.queue FROM taskflow.kind k
        UNION SELECT a.queue FROM running a
    ) AS n
    WHERE n.name > :after AND (:name::text IS NULL OR n.name = :name)
    ORDER BY n.name
    LIMIT :limit
)
SELECT
    n.name, q.paused_at, q.draining_at, q.concurrency, p.pending,
    extract(epoch FROM coalesce(:now::timestamptz, now()) - p.oldest)::double precision AS oldest_s,
    n.name IN (SELECT k.queue FROM taskflow.kind k) AS is_of_a_kind,
    coalesce((SELECT a.active FROM running a WHERE a.queue = n.name), 0)::integer AS active,
    (SELECT count(*) FROM working w WHERE n.name = ANY(w.queues))::integer AS workers
FROM named n
LEFT JOIN taskflow.queue q ON q.name = n.name
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS pending, min(c.run_at) AS oldest
    FROM (SELECT r.run_at FROM taskflow.ready r WHERE r.queue = n.name LIMIT :counted) AS c
) AS p
ORDER BY n.name;
