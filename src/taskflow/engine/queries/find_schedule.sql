-- One schedule of a namespace. Index: schedule_list.
SELECT
    id, namespace, name, cron, zone, interval_ms, anchor_at, kind, payload, queue, priority, retries, timeout_ms, tags,
    catchup, overlap, callback_url, unique_key, unique_scope, unique_window_ms, ttl_ms, created_at, updated_at, paused_at,
    next_at, last_fire_at, last_outcome, last_job_id, last_job_at
FROM taskflow.schedule
WHERE id = :schedule_id AND namespace = :namespace;
