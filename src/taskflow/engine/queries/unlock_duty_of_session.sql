-- Give back what lock_duty_of_session.sql took. Locks: releases that advisory lock.
SELECT
    pg_advisory_unlock(723641, :duty::integer),
    set_config('lock_timeout', (SELECT s.reset_val FROM pg_settings s WHERE s.name = 'lock_timeout'), false);
