-- Delete jobs that have ended, with everything that was kept of them. Returns their ids; others are left alone.
-- Locks: their rows, done first, so that a replay that comes at the same time finds nothing or keeps the job.
-- Planned while done is small, PostgreSQL 15 and 16 would read a whole namespace's ends for a list of ids: each is looked
-- up, and then deleted by its place, which in another partition may be another row's. What IS TRUE is a filter only.
-- Indexes: done_job, attempt_log_job, job_log_job, unique_claim_job, webhook_delivery_end, the primary keys of job,
-- job_progress and webhook_response. A delivery that has not been made by then is not made any more.
WITH ended AS MATERIALIZED (
    SELECT e.ctid
    FROM unnest(:job_ids::uuid[]) AS g(job_id)
    CROSS JOIN LATERAL (
        SELECT x.ctid
        FROM taskflow.done x
        WHERE x.namespace = :namespace AND x.state = ANY('{completed,failed,cancelled}'::text[])
          AND x.job_id = g.job_id AND x.finished_at >= :created_from::timestamptz - interval '1 hour'
        LIMIT 1
    ) AS e
), gone AS MATERIALIZED (
    DELETE FROM taskflow.done d
    WHERE d.ctid = ANY(ARRAY(SELECT ctid FROM ended)) AND (d.job_id = ANY(:job_ids::uuid[])) IS TRUE
      AND (d.namespace = :namespace) IS TRUE AND d.finished_at >= :created_from::timestamptz - interval '1 hour'
    RETURNING d.job_id
), bodies AS (
    DELETE FROM taskflow.job j WHERE j.id = ANY(ARRAY(SELECT job_id FROM gone))
), attempts AS (
    DELETE FROM taskflow.attempt_log a
    WHERE a.job_id = ANY(ARRAY(SELECT job_id FROM gone)) AND a.finished_at >= :created_from::timestamptz - interval '1 hour'
), lines AS (
    DELETE FROM taskflow.job_log l
    WHERE l.job_id = ANY(ARRAY(SELECT job_id FROM gone)) AND l.at >= :created_from::timestamptz - interval '1 hour'
), keys AS (
    DELETE FROM taskflow.unique_claim u WHERE u.job_id = ANY(ARRAY(SELECT job_id FROM gone))
), progress AS (
    DELETE FROM taskflow.job_progress p WHERE p.job_id = ANY(ARRAY(SELECT job_id FROM gone))
), deliveries AS (
    DELETE FROM taskflow.webhook_delivery v WHERE v.job_id = ANY(ARRAY(SELECT job_id FROM gone))
    RETURNING v.id
), responses AS (
    DELETE FROM taskflow.webhook_response r WHERE r.delivery_id = ANY(ARRAY(SELECT id FROM deliveries))
)
SELECT job_id FROM gone;
