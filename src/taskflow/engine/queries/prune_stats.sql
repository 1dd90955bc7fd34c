-- Delete up to :limit rows of hours that are older than :kept_days days. Locks: those rows. Index: stat_hour_age.
DELETE FROM taskflow.stat_hour
WHERE ctid = ANY(ARRAY(
    SELECT s.ctid FROM taskflow.stat_hour s
    WHERE s.hour < coalesce(:now::timestamptz, now()) - :kept_days::integer * interval '1 day'
    ORDER BY s.hour
    LIMIT :limit
));
