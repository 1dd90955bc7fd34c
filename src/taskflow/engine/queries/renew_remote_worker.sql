-- A worker over HTTP asks for jobs: it lives, and says anew what it can run. No row: it was declared dead, or it is none
-- of this namespace's. Locks: its row. Index: the primary key.
UPDATE taskflow.worker
SET heartbeat_at = coalesce(:now::timestamptz, now()),
    host = coalesce(:name::text, host), queues = :queues::text[], kinds = :kinds::text[],
    concurrency = greatest(concurrency, :concurrency::integer), lease_s = :lease_s::double precision
WHERE id = :worker_id::uuid AND namespace = :namespace::uuid
RETURNING true;
