-- Leases that nobody alive answers for. A claim that slipped in after its worker was declared dead is found here too.
SELECT l.id
FROM taskflow.lease l
WHERE NOT EXISTS (SELECT FROM taskflow.worker w WHERE w.id = l.worker_id)
ORDER BY l.id
LIMIT :limit;
