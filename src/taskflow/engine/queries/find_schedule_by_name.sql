-- One schedule of a namespace. Index: schedule_name; a range and its order say so, because by equality a planner that
-- knows nothing of the table yet takes schedule_list just as well.
SELECT
    id, namespace, name, cron, zone, interval_ms, anchor_at, kind, payload, queue, priority, retries, timeout_ms, tags,
    catchup, overlap, callback_url, unique_key, unique_scope, unique_window_ms, ttl_ms, created_at, updated_at, paused_at,
    next_at, last_fire_at, last_outcome, last_job_id, last_job_at
FROM taskflow.schedule
WHERE namespace = :namespace AND name BETWEEN :name AND :name
ORDER BY name
LIMIT 1;
