-- A supervisor that stopped in good order. Locks: its row. Index: the primary key.
DELETE FROM taskflow.worker WHERE id = :worker_id;
