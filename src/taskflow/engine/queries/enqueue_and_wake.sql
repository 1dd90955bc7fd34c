-- enqueue_one.sql, its commit and the wake-up in one round trip; outside of any transaction. NULLs while any queue drains:
-- then nothing is stored. Locks: none but the new rows. Index: queue_draining.
CALL taskflow.enqueue_and_wake(
    :now::timestamptz, :namespace::uuid, :queue::text, :kind::text, :payload::jsonb, :priority::smallint,
    :retries::smallint, :timeout_ms::integer, :tags::text[], :headers::jsonb, :channel::text, NULL, NULL
);
