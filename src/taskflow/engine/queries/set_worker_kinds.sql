-- What a worker's processes can run.
UPDATE taskflow.worker SET kinds = :kinds, queues = :queues WHERE id = :worker_id;
