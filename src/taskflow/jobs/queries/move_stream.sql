-- Note how far a stream has come, in the transaction that stores its lines. Locks: the stream's row, which
-- lock_stream.sql has locked. Index: submit_stream's primary key.
UPDATE taskflow.submit_stream
SET last_line = :last_line, accepted = accepted + :accepted::bigint, rejected = rejected + :rejected::bigint
WHERE principal_id = :principal_id AND key = :key
RETURNING accepted, rejected;
