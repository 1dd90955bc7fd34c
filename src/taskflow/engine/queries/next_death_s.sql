-- Seconds until the next worker is dead if it stays silent; 0 or less if there is one to bury, or a lease that nobody
-- answers for; NULL without workers. Locks: none. Both tables are small. Index: the primary key of worker.
SELECT CASE
    WHEN EXISTS (
        SELECT FROM taskflow.lease l WHERE NOT EXISTS (SELECT FROM taskflow.worker w WHERE w.id = l.worker_id)
    ) THEN 0
    ELSE (
        SELECT extract(epoch FROM
            min(w.heartbeat_at + coalesce(w.lease_s, :lease_s::double precision) * interval '1 second')
            - coalesce(:now::timestamptz, statement_timestamp())
        )
        FROM taskflow.worker w
    )
END::double precision;
