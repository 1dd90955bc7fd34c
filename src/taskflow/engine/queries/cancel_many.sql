-- Cancel those of many jobs that nobody holds. Locks: their ready and deferred rows, in the order given; a claim in
-- progress is waited for, then has them. Indexes: the primary keys of ready, deferred and job. Counts them in stat_delta.
-- Returns their ids, and which of them the caller settles in the same transaction (as find_job_body.sql has it).
WITH from_ready AS (
    DELETE FROM taskflow.ready
    WHERE ctid = ANY(ARRAY(
        SELECT r.ctid
        FROM unnest(:job_ids::uuid[]) AS g(id)
        CROSS JOIN LATERAL (SELECT x.ctid FROM taskflow.ready x WHERE x.job_id = g.id LIMIT 1 FOR UPDATE) AS r
    ))
    RETURNING job_id, namespace, queue, kind, attempt, failures
), from_deferred AS (
    DELETE FROM taskflow.deferred
    WHERE ctid = ANY(ARRAY(
        SELECT d.ctid
        FROM unnest(:job_ids::uuid[]) AS g(id)
        CROSS JOIN LATERAL (SELECT x.ctid FROM taskflow.deferred x WHERE x.job_id = g.id LIMIT 1 FOR UPDATE) AS d
    ))
    RETURNING job_id, namespace, queue, kind, attempt, failures
), taken AS (
    SELECT t.*, coalesce(:now::timestamptz, statement_timestamp()) AS at
    FROM (SELECT * FROM from_ready UNION ALL SELECT * FROM from_deferred) AS t
), counted AS (
    INSERT INTO taskflow.stat_delta (namespace, hour, queue, kind, state, measure, bucket, jobs)
    SELECT namespace, date_bin('1 hour', at, '2000-01-01 00:00:00+00'), queue, kind, 'cancelled', 'run', 0, count(*)
    FROM taken
    GROUP BY 1, 2, 3, 4
), ended AS (
    INSERT INTO taskflow.done (job_id, namespace, queue, kind, state, attempt, failures, finished_at)
    SELECT job_id, namespace, queue, kind, 'cancelled', attempt, failures, at FROM taken
    RETURNING job_id
)
SELECT e.job_id, b.settles
FROM ended e
CROSS JOIN LATERAL (
    SELECT
        j.callback_url IS NOT NULL OR j.kind = 'deliver_webhook'
            OR coalesce(j.unique_scope IN ('until_claimed', 'until_finished'), false) AS settles
    FROM taskflow.job j WHERE j.id = e.job_id LIMIT 1
) AS b;
