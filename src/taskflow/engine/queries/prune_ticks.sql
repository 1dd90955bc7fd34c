-- Delete up to :limit rows of the ledger that are older than :kept_days days. Schedules have moved on from them long
-- ago: what keeps an instant from coming again is next_at. Locks: those rows. Index: schedule_tick_age.
DELETE FROM taskflow.schedule_tick
WHERE ctid = ANY(ARRAY(
    SELECT t.ctid FROM taskflow.schedule_tick t
    WHERE t.decided_at < coalesce(:now::timestamptz, now()) - :kept_days::integer * interval '1 day'
    ORDER BY t.decided_at
    LIMIT :limit
));
