-- Ids of a namespace's jobs, newest first, below :before. Index: job_list.
-- Rows are compared as a whole, and ordered so, because only job_list can do that: by id alone the planner would take
-- the primary key and read over everybody else's jobs.
-- Looks at :scan rows at most, so that a filter that hardly anything passes cannot read the whole table.
SELECT scanned.id
FROM (
    SELECT j.namespace, j.id, j.kind, j.queue, j.tags
    FROM taskflow.job j
    WHERE (j.namespace, j.id) < (:namespace, :before) AND (j.namespace, j.id) >= (:namespace, :floor)
      AND j.id < :before AND j.id >= :floor  -- the same once more: this is what leaves out days
    ORDER BY j.namespace DESC, j.id DESC
    LIMIT :scan
) AS scanned
WHERE (:kind::text IS NULL OR scanned.kind = :kind)
  AND (:queue::text IS NULL OR scanned.queue = :queue)
  AND (:tag::text IS NULL OR scanned.tags @> ARRAY[:tag::text])
ORDER BY scanned.namespace DESC, scanned.id DESC
LIMIT :limit;
