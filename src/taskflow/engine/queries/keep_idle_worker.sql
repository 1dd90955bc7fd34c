-- A worker over HTTP waits for jobs and holds none: its open request is its proof of life. One that holds jobs has to
-- prove it by heartbeats, because a request may stay open long after its client is gone. False: there is no such worker.
-- Locks: its row. Index: the primary key. The table lease is as small as the work in flight.
WITH kept AS (
    UPDATE taskflow.worker w SET heartbeat_at = coalesce(:now::timestamptz, now())
    WHERE w.id = :worker_id::uuid AND w.namespace = :namespace::uuid
      AND NOT EXISTS (SELECT FROM taskflow.lease l WHERE l.worker_id = w.id)
)
SELECT EXISTS (
    SELECT FROM taskflow.worker w WHERE w.id = :worker_id::uuid AND w.namespace = :namespace::uuid
);
