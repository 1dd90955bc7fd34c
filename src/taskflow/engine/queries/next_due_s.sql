-- Seconds until the next deferred job is due (negative: overdue), or NULL. Index: deferred_due.
SELECT extract(epoch FROM d.run_at - coalesce(:now::timestamptz, now()))::double precision AS wait_s
FROM taskflow.deferred d
ORDER BY d.run_at
LIMIT 1;
