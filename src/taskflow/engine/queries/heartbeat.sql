-- A supervisor lives on. No row: it was declared dead, and what it held was given to others.
-- Locks: its row. Index: the primary key; heartbeat_at is in none, so this is a HOT update.
UPDATE taskflow.worker SET heartbeat_at = coalesce(:now::timestamptz, now()) WHERE id = :worker_id RETURNING true;
