-- Jobs of a namespace that ended in a period, up to :limit of them, in the order of the index: what each came to.
-- Read through a cursor. Locks: none. Index: done_job, day by day; days outside of the period are not looked at.
SELECT
    d.kind, d.state, d.finished_at,
    extract(epoch FROM d.finished_at - d.started_at)::double precision AS duration_s,
    d.error ->> 'type' AS error_type,
    left(d.error ->> 'message', 2000) AS error_message
FROM taskflow.done d
WHERE d.namespace = :namespace::uuid AND d.state = ANY('{completed,failed,cancelled}'::text[])
  AND d.finished_at >= :ended_from::timestamptz AND d.finished_at < :ended_to::timestamptz
LIMIT :limit::integer;
