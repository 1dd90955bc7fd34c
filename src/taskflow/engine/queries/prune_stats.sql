-- Delete up to :limit counts of hours that are older than :kept_days days. Locks: those rows. Goes along stat_hour's
-- primary key until it has found so many: once an hour, that is cheaper than an index which every fold would keep.
DELETE FROM taskflow.stat_hour
WHERE ctid = ANY(ARRAY(
    SELECT s.ctid FROM taskflow.stat_hour s
    WHERE s.hour < coalesce(:now::timestamptz, now()) - :kept_days::integer * interval '1 day'
    LIMIT :limit
));
