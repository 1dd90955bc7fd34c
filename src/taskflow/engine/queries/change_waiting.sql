-- Change when a job that waits is due, and its priority; what is NULL stays. It moves to where it belongs then.
-- The body is written again, which nothing else does: the job is to keep its priority when it is handed back.
-- Locks: its ready or deferred row, then its body. Indexes: the primary keys of ready, deferred and job.
-- Returns its queue, and whether it is ready.
WITH from_ready AS (
    DELETE FROM taskflow.ready r
    WHERE r.job_id = :job_id
    RETURNING r.job_id, r.namespace, r.queue, r.kind, r.priority, r.run_at, r.attempt, r.failures, r.crashes, r.suspect,
        r.holds_key, r.expires_at
), from_deferred AS (
    DELETE FROM taskflow.deferred d
    WHERE d.job_id = :job_id
    RETURNING d.job_id, d.namespace, d.queue, d.kind, d.priority, d.run_at, d.attempt, d.failures, d.crashes, d.suspect,
        d.holds_key, d.expires_at, d.state
), taken AS (
    SELECT *, 'scheduled' AS state, true AS was_ready FROM from_ready
    UNION ALL SELECT *, false FROM from_deferred
), asked AS (
    SELECT
        coalesce(:now::timestamptz, statement_timestamp()) AS at,
        coalesce(:run_at::timestamptz, coalesce(:now::timestamptz, statement_timestamp()) + :run_after::interval)
            AS run_at
), placed AS MATERIALIZED (
    SELECT
        t.job_id, t.namespace, t.queue, t.kind, t.attempt, t.failures, t.crashes, t.suspect, t.holds_key, t.expires_at, t.state,
        coalesce(:priority::smallint, t.priority) AS priority,
        CASE
            WHEN a.run_at > a.at THEN a.run_at
            WHEN a.run_at IS NULL OR t.was_ready THEN t.run_at
            ELSE least(t.run_at, a.at)
        END AS run_at,
        coalesce(a.run_at <= a.at, t.was_ready) AS is_ready
    FROM taken t
    CROSS JOIN asked a
), now_ready AS (
    INSERT INTO taskflow.ready
        (job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, holds_key, expires_at)
    SELECT job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, holds_key, expires_at
    FROM placed WHERE is_ready
), later AS (
    INSERT INTO taskflow.deferred
        (job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, state, holds_key, expires_at)
    SELECT job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, state, holds_key, expires_at
    FROM placed WHERE NOT is_ready
), body AS (
    UPDATE taskflow.job j SET priority = p.priority
    FROM placed p WHERE j.id = p.job_id AND j.priority <> p.priority
)
SELECT queue, is_ready FROM placed;
