-- Ids of scheduled or retrying jobs, newest first, below :before. Index: deferred's primary key, read backwards.
SELECT f.job_id AS id
FROM taskflow.deferred f
WHERE f.namespace = :namespace AND f.state = :state AND f.job_id < :before AND f.job_id >= :floor
  AND (:kind::text IS NULL OR f.kind = :kind)
  AND (:queue::text IS NULL OR f.queue = :queue)
  AND (:tag::text IS NULL OR EXISTS (
      SELECT FROM taskflow.job j WHERE j.id = f.job_id AND j.tags @> ARRAY[:tag::text]
  ))
ORDER BY f.job_id DESC
LIMIT :limit;
