-- Change what a schedule says, unless somebody has since :seen. Locks: its row. Index: schedule_list.
UPDATE taskflow.schedule SET
    name = :name, cron = :cron, zone = :zone, interval_ms = :interval_ms, anchor_at = :anchor_at, kind = :kind,
    payload = :payload::text::jsonb, queue = :queue, priority = :priority, retries = :retries,
    timeout_ms = :timeout_ms, tags = :tags, catchup = :catchup, overlap = :overlap,
    callback_url = :callback_url, unique_key = :unique_key, unique_scope = :unique_scope,
    unique_window_ms = :unique_window_ms, ttl_ms = :ttl_ms, paused_at = :paused_at, next_at = :next_at,
    updated_at = greatest(:now::timestamptz, updated_at + interval '1 microsecond')
WHERE id = :schedule_id AND namespace = :namespace AND updated_at = :seen
RETURNING
    id, namespace, name, cron, zone, interval_ms, anchor_at, kind, payload, queue, priority, retries, timeout_ms, tags,
    catchup, overlap, callback_url, unique_key, unique_scope, unique_window_ms, ttl_ms, created_at, updated_at, paused_at,
    next_at, last_fire_at, last_outcome, last_job_id, last_job_at;
