-- Like try_duty_lock.sql, for a duty that cannot run in one transaction; and from here on the session waits for other
-- locks so long only. No row: somebody else has it. Locks: an advisory lock, until unlock_duty_of_session.sql or the
-- connection's end; never waits for it.
SELECT set_config('lock_timeout', :lock_wait_ms::integer::text, false)
FROM (SELECT pg_try_advisory_lock(723641, :duty::integer) AS is_taken OFFSET 0) AS duty
WHERE duty.is_taken;
