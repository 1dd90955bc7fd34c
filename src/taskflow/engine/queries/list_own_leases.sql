-- The leases of one worker process, and the cancels asked of them. The table is as small as the work in flight.
SELECT l.id, l.job_ids, l.cancels
FROM taskflow.lease l
WHERE l.worker_id = :worker_id AND l.incarnation = :incarnation;
