-- Leave in one day's partition of job only what is needed. Locks: that partition, in the end against everybody; new
-- jobs are in another. The function is in the migration 0013.
SELECT taskflow.thin_out_jobs(:day::date, :max_jobs::integer, :max_bytes::bigint);
