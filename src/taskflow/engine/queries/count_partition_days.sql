-- For how many days from today (UTC) on every partitioned table has its partition; counted up to 30. Locks: none.
SELECT coalesce(min(d.day), 30)
FROM generate_series(0, 29) AS d(day)
CROSS JOIN unnest('{job,done,attempt_log,job_log}'::text[]) AS p(parent)
WHERE to_regclass(format('taskflow.%I', format('%s_%s', p.parent, to_char(
    (coalesce(:now::timestamptz, now()) AT TIME ZONE 'UTC')::date + d.day, 'YYYYMMDD'
)))) IS NULL;
