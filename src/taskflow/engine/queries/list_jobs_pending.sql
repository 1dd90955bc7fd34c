-- Like list_jobs.sql, of jobs that are pending. Indexes: job_list, then ready's primary key for each.
SELECT scanned.id
FROM (
    SELECT j.namespace, j.id, j.kind, j.queue, j.tags
    FROM taskflow.job j
    WHERE (j.namespace, j.id) < (:namespace, :before) AND (j.namespace, j.id) >= (:namespace, :floor)
      AND j.id < :before AND j.id >= :floor  -- the same once more: this is what leaves out days
    ORDER BY j.namespace DESC, j.id DESC
    LIMIT :scan
) AS scanned
CROSS JOIN LATERAL (SELECT FROM taskflow.ready r WHERE r.job_id = scanned.id LIMIT 1) AS pending
WHERE (:kind::text IS NULL OR scanned.kind = :kind)
  AND (:queue::text IS NULL OR scanned.queue = :queue)
  AND (:tag::text IS NULL OR scanned.tags @> ARRAY[:tag::text])
ORDER BY scanned.namespace DESC, scanned.id DESC
LIMIT :limit;
