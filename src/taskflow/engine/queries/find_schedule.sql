-- One schedule of a namespace. Index: schedule_list.
SELECT
    id, namespace, name, cron, zone, interval_ms, anchor_at, kind, payload, queue, priority, retries, timeout_ms, tags,
    catchup, overlap, created_at, updated_at, paused_at, next_at, last_fire_at, last_outcome, last_job_id, last_job_at
FROM taskflow.schedule
WHERE id = :schedule_id AND namespace = :namespace;
