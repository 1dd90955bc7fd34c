-- Jobs that are ready, per queue and kind, counted no further than :limit rows in all; how long the oldest has been due;
-- whether live workers can run all of them (a worker over HTTP runs those of its namespace only); and whether the queue
-- is paused. Index: queue_pkey; ready and worker are scanned.
WITH counted AS (
    SELECT r.queue, r.kind, r.namespace, r.run_at FROM taskflow.ready r LIMIT :limit
), grouped AS (
    SELECT
        c.queue, c.kind, count(*) AS pending, min(c.run_at) AS due_at,
        EXISTS (
            SELECT FROM taskflow.worker w
            WHERE w.queues @> ARRAY[c.queue] AND w.kinds @> ARRAY[c.kind]
              AND (w.namespace IS NULL OR w.namespace = c.namespace)
              AND w.heartbeat_at >= coalesce(:now::timestamptz, now())
                  - coalesce(w.lease_s, :lease_s::double precision) * interval '1 second'
        ) AS has_worker
    FROM counted c
    GROUP BY c.queue, c.kind, c.namespace
)
SELECT
    g.queue, g.kind, sum(g.pending)::integer AS pending,
    extract(epoch FROM coalesce(:now::timestamptz, now()) - min(g.due_at))::double precision AS oldest_s,
    bool_and(g.has_worker) AS has_worker,
    coalesce((SELECT q.paused_at IS NOT NULL FROM taskflow.queue q WHERE q.name = g.queue), false) AS is_paused
FROM grouped g
GROUP BY g.queue, g.kind
ORDER BY g.queue, g.kind;
