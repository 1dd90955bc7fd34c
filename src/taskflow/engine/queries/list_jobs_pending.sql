-- Like list_jobs.sql, of jobs that are pending. Indexes: job_list, then ready's primary key for each.
SELECT scanned.id
FROM (
    SELECT j.id, j.kind, j.queue, j.tags
    FROM taskflow.job j
    WHERE j.namespace = :namespace AND j.id < :before AND j.id >= :floor
    ORDER BY j.id DESC
    LIMIT :scan
) AS scanned
WHERE (:kind::text IS NULL OR scanned.kind = :kind)
  AND (:queue::text IS NULL OR scanned.queue = :queue)
  AND (:tag::text IS NULL OR scanned.tags @> ARRAY[:tag::text])
  AND EXISTS (SELECT FROM taskflow.ready r WHERE r.job_id = scanned.id)
ORDER BY scanned.id DESC
LIMIT :limit;
