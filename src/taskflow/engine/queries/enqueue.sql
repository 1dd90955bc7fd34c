-- Store jobs: the body, and where each waits (ready at once, or deferred until run_at). Order of input is order of ids.
-- Locks: none but the new rows. The caller's transaction decides whether they exist.
WITH given AS MATERIALIZED (
    SELECT
        g.*,
        coalesce(:now::timestamptz, statement_timestamp()) + g.ord * interval '1 microsecond' AS created_at
    FROM unnest(
        :namespaces::uuid[], :queues::text[], :kinds::text[], :payloads::text[], :priorities::smallint[],
        :retries::smallint[], :timeouts_ms::integer[], :tags::text[], :headers::text[],
        :run_ats::timestamptz[], :run_afters::interval[], :callback_urls::text[]
    ) WITH ORDINALITY AS g(
        namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, run_at, run_after,
        callback_url, ord
    )
), placed AS MATERIALIZED (
    SELECT
        g.*,
        taskflow.uuid_v7(g.created_at) AS id,
        greatest(g.created_at, coalesce(g.run_at, g.created_at + g.run_after)) AS due_at
    FROM given g
), body AS (
    INSERT INTO taskflow.job
        (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, callback_url, created_at)
    SELECT
        id, namespace, queue, kind, payload::jsonb, priority, retries, timeout_ms,
        tags::text[], headers::jsonb, callback_url, created_at
    FROM placed
), now_ready AS (
    INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures)
    SELECT id, namespace, queue, kind, priority, created_at, 0, 0
    FROM placed WHERE due_at = created_at
), later AS (
    INSERT INTO taskflow.deferred (job_id, namespace, queue, kind, priority, run_at, attempt, failures, state)
    SELECT id, namespace, queue, kind, priority, due_at, 0, 0, 'scheduled'
    FROM placed WHERE due_at > created_at
)
SELECT id, created_at, due_at FROM placed ORDER BY ord;
