-- A worker that works over HTTP says that it lives, unless its namespace has :limit of them. No row: it has.
-- Locks: none but the new row, so that a few at once may go a little over the limit. The table is small.
INSERT INTO taskflow.worker
    (id, host, pid, queues, kinds, concurrency, started_at, heartbeat_at, namespace, lease_s)
SELECT
    :worker_id::uuid, :name::text, 0, :queues::text[], :kinds::text[], :concurrency::integer,
    coalesce(:now::timestamptz, now()), coalesce(:now::timestamptz, now()), :namespace::uuid,
    :lease_s::double precision
WHERE (SELECT count(*) FROM taskflow.worker w WHERE w.namespace = :namespace::uuid) < :limit::integer
RETURNING true;
