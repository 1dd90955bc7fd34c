-- Jobs that ended since the hour before this one began, per queue, in all namespaces: two readings with the same since
-- give a rate. Locks: none. Goes along all of stat_hour's primary key: that is one look by a person now and then, and
-- cheaper than an index which every fold would keep. stat_delta is as small as a second of work (five after a quiet time).
WITH span AS MATERIALIZED (
    SELECT date_trunc('hour', coalesce(:now::timestamptz, now()), 'UTC') - interval '1 hour' AS since
)
SELECT e.queue, sum(e.jobs)::bigint AS jobs, span.since
FROM span
CROSS JOIN LATERAL (
    SELECT s.queue, s.jobs FROM taskflow.stat_hour s WHERE s.hour >= span.since AND s.measure = 'run'
    UNION ALL
    SELECT d.queue, d.jobs FROM taskflow.stat_delta d WHERE d.hour >= span.since AND d.measure = 'run'
) AS e
GROUP BY e.queue, span.since;
