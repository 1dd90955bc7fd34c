-- What the time is. Locks: none.
SELECT coalesce(:now::timestamptz, statement_timestamp());
