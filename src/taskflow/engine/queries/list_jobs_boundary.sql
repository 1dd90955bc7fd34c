-- The last id that a scan of :scan rows looks at, or NULL if it reaches the end: where a short page goes on.
-- Index: job_list.
SELECT j.id
FROM taskflow.job j
WHERE (j.namespace, j.id) < (:namespace, :before) AND (j.namespace, j.id) >= (:namespace, :floor)
  AND j.id < :before AND j.id >= :floor
ORDER BY j.namespace DESC, j.id DESC
OFFSET :scan - 1
LIMIT 1;
