-- The instant of a bulk submit, by the database's clock; NULL while any queue drains: enqueue.sql can tell which of the
-- jobs are refused. Locks: none. Index: queue_draining.
SELECT CASE
    WHEN NOT EXISTS (SELECT FROM taskflow.queue q WHERE q.draining_at IS NOT NULL)
        THEN coalesce(:now::timestamptz, statement_timestamp())
END AS at;
