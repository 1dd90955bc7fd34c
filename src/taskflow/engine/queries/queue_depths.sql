-- Jobs that are ready, per queue and kind, counted no further than :limit rows in all; how long the oldest has been due;
-- and whether a live worker can run that kind.
WITH counted AS (
    SELECT r.queue, r.kind, r.run_at FROM taskflow.ready r LIMIT :limit
)
SELECT
    c.queue, c.kind, count(*)::integer AS pending,
    extract(epoch FROM coalesce(:now::timestamptz, now()) - min(c.run_at))::double precision AS oldest_s,
    EXISTS (
        SELECT FROM taskflow.worker w
        WHERE w.queues @> ARRAY[c.queue] AND w.kinds @> ARRAY[c.kind]
          AND w.heartbeat_at >= coalesce(:now::timestamptz, now()) - coalesce(w.lease_s, :lease_s::double precision) * interval '1 second'
    ) AS has_worker
FROM counted c
GROUP BY c.queue, c.kind
ORDER BY c.queue, c.kind;
