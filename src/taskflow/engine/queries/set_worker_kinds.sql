-- What a worker's processes can run; written again if its row was made anew, and only then. Locks: the worker's row.
UPDATE taskflow.worker SET kinds = :kinds
WHERE id = :worker_id AND kinds IS DISTINCT FROM :kinds::text[];
