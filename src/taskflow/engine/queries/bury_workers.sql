-- Forget workers that have not proved life for :lease_s seconds, or as long as they said themselves.
-- Locks: their rows; one that beats meanwhile stays.
DELETE FROM taskflow.worker
WHERE heartbeat_at < coalesce(:now::timestamptz, now()) - coalesce(lease_s, :lease_s::double precision) * interval '1 second'
RETURNING id, host, pid;
