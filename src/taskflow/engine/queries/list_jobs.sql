-- Ids of a namespace's jobs, newest first, below :before. Index: job_list.
-- Looks at :scan rows at most, so that a filter that hardly anything passes cannot read the whole table.
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
ORDER BY scanned.id DESC
LIMIT :limit;
