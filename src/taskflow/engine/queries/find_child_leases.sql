-- The leases of one worker's child processes: of one incarnation, or of all (NULL).
SELECT l.id
FROM taskflow.lease l
WHERE l.worker_id = :worker_id AND (:incarnation::integer IS NULL OR l.incarnation = :incarnation)
ORDER BY l.id;
