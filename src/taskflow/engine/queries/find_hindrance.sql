-- What keeps a ready job from being claimed, but for others before it: its queue is paused, or no live worker runs its
-- kind in its queue. A worker over HTTP runs those of its namespace only. Locks: none.
-- Index: the primary key of queue; there are as many workers as processes.
SELECT
    EXISTS (SELECT FROM taskflow.queue q WHERE q.name = :queue AND q.paused_at IS NOT NULL) AS is_paused,
    EXISTS (
        SELECT FROM taskflow.worker w
        WHERE w.queues @> ARRAY[:queue::text] AND w.kinds @> ARRAY[:kind::text]
          AND (w.namespace IS NULL OR w.namespace = :namespace::uuid)
          AND w.heartbeat_at >= coalesce(:now::timestamptz, now())
              - coalesce(w.lease_s, :lease_s::double precision) * interval '1 second'
    ) AS has_worker;
