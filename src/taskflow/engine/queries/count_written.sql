-- Rows that were ever written to the append-only tables, by PostgreSQL's own counters: two readings give a rate, at no
-- cost to those who write. They lag by a second, by ten after a session's last words, and know nothing of queues.
-- Locks: none.
SELECT
    coalesce(sum(pg_stat_get_tuples_inserted(i.inhrelid))
        FILTER (WHERE i.inhparent = 'taskflow.job'::regclass), 0)::bigint AS submitted,
    coalesce(sum(pg_stat_get_tuples_inserted(i.inhrelid))
        FILTER (WHERE i.inhparent = 'taskflow.done'::regclass), 0)::bigint AS ended,
    coalesce(sum(pg_stat_get_tuples_inserted(i.inhrelid))
        FILTER (WHERE i.inhparent = 'taskflow.attempt_log'::regclass), 0)::bigint AS unsuccessful
FROM pg_inherits i
WHERE i.inhparent IN ('taskflow.job'::regclass, 'taskflow.done'::regclass, 'taskflow.attempt_log'::regclass);
