-- How far a stream of submits has come; a new one begins at line 0. Locks: the stream's row until the transaction ends,
-- so of two requests that send the same stream one waits and then sees what the other stored.
-- Index: submit_stream's primary key.
INSERT INTO taskflow.submit_stream AS s
    (principal_id, key, namespace, last_line, accepted, rejected, created_at, touched_at)
VALUES (
    :principal_id, :key, :namespace, 0, 0, 0,
    coalesce(:now::timestamptz, now()), coalesce(:now::timestamptz, now())
)
ON CONFLICT (principal_id, key) DO UPDATE SET touched_at = coalesce(:now::timestamptz, now())
RETURNING s.last_line, s.accepted, s.rejected;
