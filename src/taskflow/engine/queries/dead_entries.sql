-- How many dead rows the tables that the caretaker vacuums hold, and the oldest snapshot that keeps them from going.
SELECT
    pg_stat_get_dead_tuples('taskflow.ready'::regclass) AS ready,
    pg_stat_get_dead_tuples('taskflow.lease'::regclass) AS lease,
    pg_stat_get_dead_tuples('taskflow.deferred'::regclass) AS deferred,
    pg_stat_get_dead_tuples('taskflow.stat_delta'::regclass) AS stat_delta,
    (
        SELECT a.backend_xmin::text FROM pg_stat_activity a
        WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
        ORDER BY age(a.backend_xmin) DESC LIMIT 1
    ) AS oldest_xmin;
