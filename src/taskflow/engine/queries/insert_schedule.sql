-- Store a schedule; no row comes back if the namespace has one of that name. Locks: none but the new row; of two at once
-- with one name, the second waits and then gets none. Index: schedule_name.
INSERT INTO taskflow.schedule (
    id, namespace, name, cron, zone, interval_ms, anchor_at, kind, payload, queue, priority, retries, timeout_ms, tags,
    catchup, overlap, callback_url, unique_key, unique_scope, unique_window_ms, ttl_ms, created_at, updated_at, paused_at,
    next_at
) VALUES (
    taskflow.uuid_v7(:now), :namespace, :name, :cron, :zone, :interval_ms, :now, :kind, :payload::text::jsonb, :queue,
    :priority, :retries, :timeout_ms, :tags, :catchup, :overlap, :callback_url, :unique_key, :unique_scope,
    :unique_window_ms, :ttl_ms, :now, :now,
    CASE WHEN :paused::boolean THEN :now::timestamptz END, :next_at
)
ON CONFLICT (namespace, name) DO NOTHING
RETURNING
    id, namespace, name, cron, zone, interval_ms, anchor_at, kind, payload, queue, priority, retries, timeout_ms, tags,
    catchup, overlap, callback_url, unique_key, unique_scope, unique_window_ms, ttl_ms, created_at, updated_at, paused_at,
    next_at, last_fire_at, last_outcome, last_job_id, last_job_at;
