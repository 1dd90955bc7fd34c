-- How many jobs of a namespace ended per :period ('hour' or 'day', UTC) and state; like read_stats.sql. Locks: none.
-- Index: stat_hour's primary key, a range of it.
SELECT date_trunc(:period::text, hour, 'UTC') AS at, state, sum(jobs)::bigint AS jobs
FROM (
    SELECT s.hour, s.state, s.jobs
    FROM taskflow.stat_hour s
    WHERE s.namespace = :namespace AND s.hour >= :first::timestamptz AND s.hour < :past::timestamptz
      AND s.measure = 'run'
    UNION ALL
    SELECT d.hour, d.state, d.jobs
    FROM taskflow.stat_delta d
    WHERE d.namespace = :namespace AND d.hour >= :first AND d.hour < :past AND d.measure = 'run'
) AS ended
GROUP BY 1, 2
ORDER BY 1, 2;
