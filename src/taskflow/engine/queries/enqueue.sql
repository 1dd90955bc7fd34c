-- Store jobs: the body, and where each waits (ready at once, or deferred until run_at). Order of input is order of ids.
-- A job for a queue that drains is not stored and comes back without an id; with :atomic, then none of them is.
-- :ids are those of jobs whose unique keys were claimed before (claim_unique_keys.sql), else empty. What hardly any job
-- has comes as an empty array when none has it.
-- Locks: none but the new rows. The caller's transaction decides whether they exist. Index: queue_draining.
WITH closed AS MATERIALIZED (
    SELECT coalesce(array_agg(q.name), '{}') AS queues FROM taskflow.queue q WHERE q.draining_at IS NOT NULL
), given AS MATERIALIZED (
    SELECT
        g.*,
        coalesce(:now::timestamptz, statement_timestamp()) + g.ord * interval '1 microsecond' AS created_at
    FROM unnest(
        :namespaces::uuid[], :queues::text[], :kinds::text[], :payloads::text[], :priorities::smallint[],
        :retries::smallint[], :timeouts_ms::integer[], :tags::text[], :headers::text[],
        :run_ats::timestamptz[], :run_afters::interval[], :callback_urls::text[],
        :ids::uuid[], :unique_keys::text[], :unique_scopes::text[], :expires_ats::timestamptz[],
        :expires_afters::interval[]
    ) WITH ORDINALITY AS g(
        namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, run_at, run_after,
        callback_url, id, unique_key, unique_scope, expires_at, expires_after, ord
    )
), placed AS MATERIALIZED (
    SELECT
        g.namespace, g.queue, g.kind, g.payload, g.priority, g.retries, g.timeout_ms, g.tags, g.headers,
        g.callback_url, g.unique_key, g.unique_scope, g.ord, g.created_at,
        coalesce(g.id, taskflow.uuid_v7(g.created_at)) AS id,
        greatest(g.created_at, coalesce(g.run_at, g.created_at + g.run_after)) AS due_at,
        coalesce(g.expires_at, g.created_at + g.expires_after) AS expires_at,
        g.queue = ANY(c.queues)
            OR (:atomic::boolean AND c.queues <> '{}' AND EXISTS (SELECT FROM given o WHERE o.queue = ANY(c.queues)))
            AS is_refused
    FROM given g
    CROSS JOIN closed c
), body AS (
    INSERT INTO taskflow.job
        (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, created_at,
         callback_url, unique_key, unique_scope, expires_at)
    SELECT
        id, namespace, queue, kind, payload::jsonb, priority, retries, timeout_ms,
        tags::text[], headers::jsonb, created_at, callback_url, unique_key, unique_scope, expires_at
    FROM placed WHERE NOT is_refused
), now_ready AS (
    INSERT INTO taskflow.ready
        (job_id, namespace, queue, kind, priority, run_at, attempt, failures, holds_key, expires_at)
    SELECT
        id, namespace, queue, kind, priority, created_at, 0, 0,
        unique_scope IS NOT DISTINCT FROM 'until_claimed', expires_at
    FROM placed WHERE NOT is_refused AND due_at = created_at
), later AS (
    INSERT INTO taskflow.deferred
        (job_id, namespace, queue, kind, priority, run_at, attempt, failures, state, holds_key, expires_at)
    SELECT
        id, namespace, queue, kind, priority, due_at, 0, 0, 'scheduled',
        unique_scope IS NOT DISTINCT FROM 'until_claimed', expires_at
    FROM placed WHERE NOT is_refused AND due_at > created_at
)
SELECT CASE WHEN NOT is_refused THEN id END AS id, created_at, due_at, expires_at FROM placed ORDER BY ord;
