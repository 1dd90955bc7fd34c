-- Delete up to :limit unique keys whose window is over. Locks: those rows; rows that others hold are skipped.
-- Index: unique_claim_window.
DELETE FROM taskflow.unique_claim
WHERE ctid = ANY(ARRAY(
    SELECT u.ctid
    FROM taskflow.unique_claim u
    WHERE u.held_until <= coalesce(:now::timestamptz, statement_timestamp())
    ORDER BY u.held_until
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
))
RETURNING job_id;
