-- A worker over HTTP lives on. No row: it was declared dead, or it is none of this namespace's.
-- Locks: its row. Index: the primary key; heartbeat_at is in none, so this is a HOT update.
UPDATE taskflow.worker SET heartbeat_at = coalesce(:now::timestamptz, now())
WHERE id = :worker_id::uuid AND namespace = :namespace::uuid
RETURNING true;
