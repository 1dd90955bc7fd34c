-- Wait for each lock for at most so long from here on in this transaction, unless it is to wait less already.
-- Returns what was set before, for reset_lock_wait.sql. Locks: none.
SELECT b.before, set_config(
    'lock_timeout', CASE WHEN extract(epoch FROM b.before::interval) BETWEEN 0.001 AND :limit_s::float8 THEN b.before
    ELSE (:limit_s::float8 * 1000)::integer::text END, true
) AS set_to
FROM (SELECT current_setting('lock_timeout') AS before) AS b;
