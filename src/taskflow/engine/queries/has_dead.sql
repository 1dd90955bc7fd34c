-- Is there a worker to bury, or a lease that nobody answers for? Locks: none. Both tables are small.
SELECT EXISTS (
    SELECT FROM taskflow.worker
    WHERE heartbeat_at < coalesce(:now::timestamptz, now()) - coalesce(lease_s, :lease_s::double precision) * interval '1 second'
) OR EXISTS (
    SELECT FROM taskflow.lease l WHERE NOT EXISTS (SELECT FROM taskflow.worker w WHERE w.id = l.worker_id)
);
