-- A worker over HTTP that stopped in good order. No row: there is no such worker in this namespace.
-- Locks: its row. Index: the primary key.
DELETE FROM taskflow.worker WHERE id = :worker_id::uuid AND namespace = :namespace::uuid RETURNING true;
