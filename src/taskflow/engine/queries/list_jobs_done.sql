-- Ids of jobs that ended in :state, newest first, below :before. Index: done_job, merged over the days.
SELECT d.job_id AS id
FROM taskflow.done d
WHERE d.namespace = :namespace AND d.state = :state AND d.job_id < :before AND d.job_id >= :floor
  AND d.finished_at >= :created_from::timestamptz - interval '1 hour'
  AND (:kind::text IS NULL OR d.kind = :kind)
  AND (:queue::text IS NULL OR d.queue = :queue)
  AND (:tag::text IS NULL OR EXISTS (
      SELECT FROM taskflow.job j WHERE j.id = d.job_id AND j.tags @> ARRAY[:tag::text]
  ))
ORDER BY d.job_id DESC
LIMIT :limit;
