-- How far dropping has come: what the leader was told, and the oldest day that is still there. Locks: none.
-- Always one row. The oldest day is that of a partition of done, found by its name.
SELECT
    r.looked_at IS NOT NULL AS is_looked_after, r.kept_days, r.kept_from,
    extract(epoch FROM r.steady_since + :steady_for::interval - coalesce(:now::timestamptz, now()))::double precision
        AS waits_s,
    days.oldest, (coalesce(:now::timestamptz, now()) AT TIME ZONE 'UTC')::date AS today
FROM (
    SELECT min(CASE WHEN c.relname ~ '^done_[0-9]{8}$' THEN to_date(right(c.relname, 8), 'YYYYMMDD') END) AS oldest
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'taskflow.done'::regclass AND c.relkind = 'r'
) AS days
LEFT JOIN taskflow.retention r ON true;
