-- Of some jobs, those that have not ended, by where a live job is: a body alone says nothing, it may be kept longer than
-- its end. Indexes: the primary keys of ready and deferred. Leases are scanned: there are as many as batches in flight.
WITH held AS MATERIALIZED (
    SELECT u.job_id
    FROM taskflow.lease l
    CROSS JOIN LATERAL unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
    JOIN unnest(:job_ids::uuid[]) AS wanted(id) ON wanted.id = u.job_id
    WHERE get_bit(l.open, u.ord::integer - 1) = 1
)
SELECT g.id
FROM unnest(:job_ids::uuid[]) AS g(id)
LEFT JOIN LATERAL (SELECT true AS is_there FROM taskflow.ready x WHERE x.job_id = g.id LIMIT 1) AS r ON true
LEFT JOIN LATERAL (SELECT true AS is_there FROM taskflow.deferred x WHERE x.job_id = g.id LIMIT 1) AS f ON true
LEFT JOIN LATERAL (SELECT true AS is_there FROM held h WHERE h.job_id = g.id LIMIT 1) AS h ON true
WHERE coalesce(r.is_there, f.is_there, h.is_there, false);
