-- Schedules that are due, soonest first, at most :limit, and what the time is. Locks: their rows until the transaction
-- ends; rows that others hold are skipped. Index: schedule_due.
SELECT
    id, namespace, name, cron, zone, interval_ms, anchor_at, kind, payload, queue, priority, retries, timeout_ms, tags,
    catchup, overlap, callback_url, unique_key, unique_scope, unique_window_ms, ttl_ms, created_at, updated_at, paused_at,
    next_at, last_fire_at, last_outcome, last_job_id, last_job_at,
    coalesce(:now::timestamptz, statement_timestamp()) AS now
FROM taskflow.schedule
WHERE next_at <= coalesce(:now::timestamptz, statement_timestamp())
ORDER BY next_at, id
LIMIT :limit
FOR UPDATE SKIP LOCKED;
