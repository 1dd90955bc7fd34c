-- Delete up to :limit operations on many jobs that were asked for before the day :before and are over.
-- Locks: those rows. Index: operation_age.
DELETE FROM taskflow.operation
WHERE ctid = ANY(ARRAY(
    SELECT o.ctid FROM taskflow.operation o
    WHERE o.created_at < :before::timestamp AT TIME ZONE 'UTC' AND o.state = 'completed'
    ORDER BY o.created_at
    LIMIT :limit
));
