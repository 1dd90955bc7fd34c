-- Note how far an operation has come. No row: somebody else has taken it further, and this transaction must not count.
-- Locks: its row; waits for whoever takes a step of it. Index: the primary key.
UPDATE taskflow.operation
SET state = CASE WHEN :below::uuid IS NULL THEN 'completed' ELSE 'running' END,
    below = coalesce(:below::uuid, below),
    done = done + :done,
    failed = failed + :failed,
    changed_at = coalesce(:now::timestamptz, statement_timestamp()),
    finished_at = CASE WHEN :below::uuid IS NULL THEN coalesce(:now::timestamptz, statement_timestamp()) END
WHERE id = :operation_id AND state <> 'completed' AND below IS NOT DISTINCT FROM :from_below::uuid
RETURNING state;
