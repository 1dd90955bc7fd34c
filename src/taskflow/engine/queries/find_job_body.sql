-- The unchanging part of one job. Index: job's primary key, in the partition of the id's day.
SELECT
    id, namespace, queue, priority, created_at,
    callback_url IS NOT NULL OR kind = 'deliver_webhook'
        OR coalesce(unique_scope IN ('until_claimed', 'until_finished'), false) AS settles
FROM taskflow.job
WHERE id = :job_id AND (:namespace::uuid IS NULL OR namespace = :namespace);
