-- Take back whole leases: each job still open becomes ready again (or cancelled, if that was asked for). Those of :charged
-- are charged a crash, and failed at :max_crashes; all others are not charged.
-- Jobs of :suspects were running when their process died (NULL: nobody knows, all of them) and run alone next.
-- Whoever deletes the lease row does it; a flush that comes later finds no row and is refused.
-- A job that ends here is counted in stat_delta. Locks: the lease rows. Index: job's primary key. Returns the queues that
-- got jobs, and which of the ended have consequences: the caller settles them in the same transaction.
WITH gone AS (
    DELETE FROM taskflow.lease l
    WHERE l.id = ANY(:lease_ids::uuid[])
    RETURNING l.id, l.job_ids, l.attempts, l.failures, l.open, l.cancels, l.marks, l.claimed_at
), back AS MATERIALIZED (
    SELECT
        j.id AS job_id, j.namespace, j.queue, j.kind, j.priority, u.attempt, u.failures, gone.claimed_at,
        j.callback_url IS NOT NULL OR j.kind = 'deliver_webhook'
            OR j.unique_scope IS NOT DISTINCT FROM 'until_finished' AS settles,
        coalesce(gone.cancels ? (u.ord - 1)::text, false) AS cancelled,
        coalesce((gone.marks -> (u.ord - 1)::text ->> 0)::smallint, 0)
            + (u.job_id = ANY(:charged::uuid[]))::integer::smallint AS crashes,
        u.job_id = ANY(:charged::uuid[]) AS charged,
        coalesce((gone.marks -> (u.ord - 1)::text ->> 1)::boolean, false)
            OR coalesce(u.job_id = ANY(:suspects::uuid[]), true) AS suspect,
        coalesce(:now::timestamptz, statement_timestamp()) AS at
    FROM gone
    CROSS JOIN unnest(gone.job_ids, gone.attempts, gone.failures)
        WITH ORDINALITY AS u(job_id, attempt, failures, ord)
    CROSS JOIN LATERAL (SELECT * FROM taskflow.job x WHERE x.id = u.job_id LIMIT 1) AS j
    WHERE get_bit(gone.open, u.ord::integer - 1) = 1
), ends AS MATERIALIZED (
    SELECT
        b.*,
        CASE WHEN cancelled THEN 'cancelled' WHEN charged AND crashes >= :max_crashes::integer THEN 'failed' END AS state,
        CASE WHEN charged THEN jsonb_build_object(
            'type', 'Crashed', 'message', 'the worker''s process was killed while the job ran alone in a child of it'
        ) END AS error
    FROM back b
), again AS (
    INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect)
    SELECT job_id, namespace, queue, kind, priority, claimed_at, attempt, failures, crashes, suspect
    FROM ends WHERE state IS NULL
), ended AS (
    INSERT INTO taskflow.done
        (job_id, namespace, queue, kind, state, failure_reason, attempt, failures, error, started_at, finished_at)
    SELECT
        job_id, namespace, queue, kind, state, CASE WHEN state = 'failed' THEN 'crash_limit' END,
        attempt, failures, CASE WHEN state = 'failed' THEN error END, claimed_at, at
    FROM ends WHERE state IS NOT NULL
), counted AS (
    INSERT INTO taskflow.stat_delta (namespace, hour, queue, kind, state, measure, bucket, jobs)
    SELECT
        namespace, date_bin('1 hour', at, '2000-01-01 00:00:00+00'), queue, kind, state, 'run',
        taskflow.stat_bucket(date_part('epoch', at - claimed_at)), 1
    FROM ends WHERE state IS NOT NULL
), history AS (
    INSERT INTO taskflow.attempt_log (job_id, namespace, attempt, outcome, error, started_at, finished_at)
    SELECT
        job_id, namespace, attempt, CASE WHEN charged THEN 'crashed' ELSE :outcome::text END, error, claimed_at, at
    FROM ends
)
SELECT queue, count(*)::integer AS jobs, array_agg(job_id) FILTER (WHERE state IS NOT NULL AND settles) AS ended
FROM ends GROUP BY queue ORDER BY queue;
