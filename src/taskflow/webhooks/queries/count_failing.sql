-- A namespace's deliveries that failed, how long ago the last of them was given up, and those that are tried again after
-- :failures attempts or more. Counted among the :limit newest of each status. Locks: none.
-- Indexes: webhook_delivery_status; deferred's primary key.
WITH failed AS MATERIALIZED (
    SELECT d.settled_at
    FROM taskflow.webhook_delivery d
    WHERE d.namespace = :namespace::uuid AND d.status = 'failed'
    ORDER BY d.namespace DESC, d.status DESC, d.id DESC
    LIMIT :limit::integer
), pending AS MATERIALIZED (
    SELECT d.id
    FROM taskflow.webhook_delivery d
    WHERE d.namespace = :namespace::uuid AND d.status = 'pending'
    ORDER BY d.namespace DESC, d.status DESC, d.id DESC
    LIMIT :limit::integer
)
SELECT
    (SELECT count(*) FROM failed)::integer AS failed,
    (SELECT extract(epoch FROM statement_timestamp() - max(f.settled_at)) FROM failed f)::double precision
        AS newest_age_s,
    (
        SELECT count(w.failures)
        FROM pending p
        CROSS JOIN LATERAL (SELECT f.failures FROM taskflow.deferred f WHERE f.job_id = p.id LIMIT 1) AS w
        WHERE w.failures >= :failures::integer
    )::integer AS retrying;
