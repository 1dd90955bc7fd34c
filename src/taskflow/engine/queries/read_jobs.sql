-- Whole jobs with their present state, newest first. One snapshot: a live job is in exactly one place. A body without
-- one is of a job whose end was dropped already: it is gone.
-- Indexes: the primary keys of job, ready, deferred and job_progress; done_job; attempt_log_job.
-- LATERAL with LIMIT 1 is a look-up by index and can be nothing else, whatever statistics say.
-- Leases are scanned: there are as many as batches in flight.
WITH held AS MATERIALIZED (
    SELECT u.job_id, u.attempt, u.failures, l.claimed_at, (l.cancels ->> (u.ord - 1)::text)::timestamptz AS cancel_at
    FROM taskflow.lease l
    CROSS JOIN unnest(l.job_ids, l.attempts, l.failures) WITH ORDINALITY AS u(job_id, attempt, failures, ord)
    JOIN unnest(:job_ids::uuid[]) AS wanted(id) ON wanted.id = u.job_id
    WHERE (cardinality(:job_ids::uuid[]) > 10 OR l.job_ids && :job_ids::uuid[])  -- comparing arrays pays for a few only
      AND get_bit(l.open, u.ord::integer - 1) = 1
)
SELECT
    j.id, j.namespace, j.queue, j.kind, j.payload, j.priority, j.retries, j.timeout_ms, j.tags, j.headers, j.callback_url,
    j.created_at,
    CASE
        WHEN r.job_id IS NOT NULL THEN 'pending'
        WHEN f.job_id IS NOT NULL THEN f.state
        WHEN h.job_id IS NOT NULL THEN 'active'
        ELSE d.state
    END AS state,
    coalesce(r.attempt, f.attempt, h.attempt, d.attempt) AS attempt,
    coalesce(r.failures, f.failures, h.failures, d.failures) AS failures,
    coalesce(r.run_at, f.run_at) AS run_at,
    coalesce(h.claimed_at, d.started_at, a.started_at) AS started_at,
    d.finished_at, h.cancel_at, d.result, d.failure_reason, j.unique_key, j.unique_scope, j.expires_at,
    CASE WHEN d.state IS DISTINCT FROM 'completed' THEN coalesce(d.error, a.error) END AS error,
    p.fraction AS progress, p.message AS progress_message, p.attempt AS progress_attempt, p.at AS progress_at
FROM taskflow.job j
LEFT JOIN LATERAL (SELECT * FROM taskflow.ready x WHERE x.job_id = j.id LIMIT 1) r ON true
LEFT JOIN LATERAL (SELECT * FROM taskflow.deferred x WHERE x.job_id = j.id LIMIT 1) f ON true
LEFT JOIN held h ON h.job_id = j.id
LEFT JOIN LATERAL (
    SELECT * FROM taskflow.done x
    WHERE x.namespace = j.namespace AND x.state = ANY('{completed,failed,cancelled}'::text[]) AND x.job_id = j.id
      AND x.finished_at >= j.created_at - interval '1 hour'
    LIMIT 1
) d ON true
LEFT JOIN LATERAL (
    SELECT x.started_at, x.error FROM taskflow.attempt_log x
    WHERE x.job_id = j.id AND x.finished_at >= j.created_at - interval '1 hour' AND x.outcome IN ('error', 'timeout', 'crashed')
    ORDER BY x.attempt DESC
    LIMIT 1
) a ON true
LEFT JOIN LATERAL (SELECT * FROM taskflow.job_progress x WHERE x.job_id = j.id LIMIT 1) p ON true
WHERE j.id = ANY(:job_ids::uuid[]) AND (:namespace::uuid IS NULL OR j.namespace = :namespace)
  AND coalesce(r.job_id, f.job_id, h.job_id, d.job_id) IS NOT NULL
ORDER BY j.id DESC;
