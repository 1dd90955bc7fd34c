-- Forget streams that nobody has sent anything on for :kept, and their errors, at most :limit of them. Locks: those rows;
-- streams that somebody holds are skipped. Index: submit_stream_age, then both primary keys.
WITH old AS MATERIALIZED (
    SELECT s.principal_id, s.key FROM taskflow.submit_stream s
    WHERE s.created_at < coalesce(:now::timestamptz, now()) - :kept::interval
      AND s.touched_at < coalesce(:now::timestamptz, now()) - :kept::interval
    ORDER BY s.created_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), errors AS (
    DELETE FROM taskflow.submit_stream_error e
    USING old WHERE e.principal_id = old.principal_id AND e.key = old.key
)
DELETE FROM taskflow.submit_stream s
USING old WHERE s.principal_id = old.principal_id AND s.key = old.key;
