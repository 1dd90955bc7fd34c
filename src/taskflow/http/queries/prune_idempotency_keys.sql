-- Delete up to :limit keys whose time is up. Locks: those rows; rows that others hold are skipped.
-- Index: idempotency_key_age.
DELETE FROM taskflow.idempotency_key
WHERE ctid = ANY(ARRAY(
    SELECT ctid
    FROM taskflow.idempotency_key
    WHERE created_at <= coalesce(:now::timestamptz, statement_timestamp()) - :kept::interval
    ORDER BY created_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
));
