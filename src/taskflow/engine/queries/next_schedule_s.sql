-- Seconds until the next schedule is due; below 0 if one is. Index: schedule_due.
SELECT extract(epoch FROM next_at - coalesce(:now::timestamptz, statement_timestamp()))::double precision
FROM taskflow.schedule
WHERE next_at IS NOT NULL
ORDER BY next_at, id
LIMIT 1;
