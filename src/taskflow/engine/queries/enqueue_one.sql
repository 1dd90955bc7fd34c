-- enqueue_now.sql for one job: without arrays it takes a sixth less of the server and a quarter less of the client.
-- While any queue drains this stores nothing and returns nothing. Locks: none but the new rows. Index: queue_draining.
WITH placed AS MATERIALIZED (
    SELECT taskflow.uuid_v7(at) AS id, at AS created_at
    FROM (SELECT coalesce(:now::timestamptz, statement_timestamp()) + interval '1 microsecond' AS at) AS clock
    WHERE NOT EXISTS (SELECT FROM taskflow.queue q WHERE q.draining_at IS NOT NULL)
), body AS (
    INSERT INTO taskflow.job
        (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, created_at)
    SELECT
        id, :namespace::uuid, :queue::text, :kind::text, :payload::jsonb, :priority::smallint, :retries::smallint,
        :timeout_ms::integer, :tags::text[], :headers::jsonb, created_at
    FROM placed
)
INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures)
SELECT id, :namespace, :queue, :kind, :priority, created_at, 0, 0
FROM placed
RETURNING job_id, run_at;
