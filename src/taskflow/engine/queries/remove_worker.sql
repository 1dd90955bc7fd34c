-- A supervisor that stopped in good order.
DELETE FROM taskflow.worker WHERE id = :worker_id;
