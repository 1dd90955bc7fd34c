-- Supervisors, oldest first.
SELECT id, host, pid, queues, kinds, concurrency, started_at, heartbeat_at,
    heartbeat_at >= coalesce(:now::timestamptz, now()) - coalesce(lease_s, :lease_s::double precision) * interval '1 second' AS alive
FROM taskflow.worker
ORDER BY started_at, id;
