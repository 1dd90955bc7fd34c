-- Store jobs that are due at once and have no unique key, no expiry and no callback: what nearly all submits are.
-- Order of input is order of ids. While any queue drains this stores nothing and returns nothing: enqueue.sql can tell
-- which of the jobs are refused. Locks: none but the new rows. Index: queue_draining.
WITH placed AS MATERIALIZED (
    SELECT g.*, taskflow.uuid_v7(g.created_at) AS id
    FROM (
        SELECT *, coalesce(:now::timestamptz, statement_timestamp()) + u.ord * interval '1 microsecond' AS created_at
        FROM unnest(
            :namespaces::uuid[], :queues::text[], :kinds::text[], :payloads::text[], :priorities::smallint[],
            :retries::smallint[], :timeouts_ms::integer[], :tags::text[], :headers::text[]
        ) WITH ORDINALITY AS u(namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, ord)
    ) AS g
    WHERE NOT EXISTS (SELECT FROM taskflow.queue q WHERE q.draining_at IS NOT NULL)
), body AS (
    INSERT INTO taskflow.job
        (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, created_at)
    SELECT
        id, namespace, queue, kind, payload::jsonb, priority, retries, timeout_ms, tags::text[], headers::jsonb, created_at
    FROM placed
)
INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures)
SELECT id, namespace, queue, kind, priority, created_at, 0, 0
FROM placed
RETURNING job_id, run_at;
