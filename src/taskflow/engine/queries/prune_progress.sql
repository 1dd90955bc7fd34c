-- Delete reports of progress of jobs whose bodies are gone: looks at :limit rows above :after and below :floor, and
-- returns the last that it looked at (NULL: there was none), and how many it deleted.
-- Locks: the deleted rows. Indexes: the primary keys of job_progress and job, one look-up per row.
WITH seen AS MATERIALIZED (
    SELECT p.job_id FROM taskflow.job_progress p
    WHERE p.job_id > :after AND p.job_id < :floor
    ORDER BY p.job_id
    LIMIT :limit
), orphan AS MATERIALIZED (
    SELECT s.job_id
    FROM seen s
    LEFT JOIN LATERAL (SELECT true AS is_there FROM taskflow.job x WHERE x.id = s.job_id LIMIT 1) AS j ON true
    WHERE j.is_there IS NULL
), deleted AS (
    DELETE FROM taskflow.job_progress p WHERE p.job_id = ANY(ARRAY(SELECT o.job_id FROM orphan o))
    RETURNING 1
)
SELECT
    (SELECT s.job_id FROM seen s ORDER BY s.job_id DESC LIMIT 1) AS last,
    (SELECT count(*) FROM deleted)::integer AS deleted;
