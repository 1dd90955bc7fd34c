-- How many jobs of a namespace ended in a window of whole hours, by queue, kind, state, and bucket of each measure.
-- What was not folded yet is added: one statement sees each row on one side only. Locks: none.
-- Index: stat_hour's primary key, a range of it; stat_delta is as small as a second of work (five after a quiet time).
SELECT queue, kind, state, measure, bucket, sum(jobs)::bigint AS jobs
FROM (
    SELECT s.queue, s.kind, s.state, s.measure, s.bucket, s.jobs
    FROM taskflow.stat_hour s
    WHERE s.namespace = :namespace AND s.hour >= :first::timestamptz AND s.hour < :past::timestamptz
    UNION ALL
    SELECT d.queue, d.kind, d.state, d.measure, d.bucket, d.jobs
    FROM taskflow.stat_delta d
    WHERE d.namespace = :namespace AND d.hour >= :first AND d.hour < :past
) AS ended
GROUP BY queue, kind, state, measure, bucket
ORDER BY queue, kind, state, measure, bucket;
