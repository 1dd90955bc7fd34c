-- Wait for locks as before limit_lock_wait.sql. Locks: none.
SELECT set_config('lock_timeout', :before, true);
