-- Delete up to :limit files whose time is up. Locks: those rows; rows that others hold are skipped. Index: file_expiry.
DELETE FROM taskflow.file
WHERE ctid = ANY(ARRAY(
    SELECT ctid
    FROM taskflow.file
    WHERE expires_at <= coalesce(:now::timestamptz, now())
    ORDER BY expires_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
))
RETURNING id;
