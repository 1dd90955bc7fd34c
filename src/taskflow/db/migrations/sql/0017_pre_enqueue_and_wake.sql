-- Submit one plain job, commit, and tell workers, in one round trip: for a caller that has nobody to share a wake-up with.
-- The notification is a transaction of its own after the commit, because commits that notify take turns on one lock of
-- the whole server; it does not wait for its sync. What is stored is what queries/enqueue_one.sql stores, and nothing
-- while any queue drains.
-- Call it outside of any transaction. No SET of its own: a procedure that has one cannot commit, so every name is
-- written out. If notifications pile up because a listener sits in a transaction, none is added, for one that finds no
-- room would fail a submit that has been committed.
-- Locks: none but the new rows. Index: queue_draining.
CREATE PROCEDURE taskflow.enqueue_and_wake(
    at_instant timestamptz, in_namespace uuid, to_queue text, of_kind text, with_payload jsonb, of_priority smallint,
    with_retries smallint, with_timeout_ms integer, with_tags text[], with_headers jsonb, on_channel text,
    INOUT new_id uuid, INOUT new_at timestamptz
)
LANGUAGE plpgsql AS $$
BEGIN
    WITH placed AS MATERIALIZED (
        SELECT taskflow.uuid_v7(at) AS id, at AS created_at
        FROM (SELECT coalesce(at_instant, statement_timestamp()) + interval '1 microsecond' AS at) AS clock
        WHERE NOT EXISTS (SELECT FROM taskflow.queue q WHERE q.draining_at IS NOT NULL)
    ), body AS (
        INSERT INTO taskflow.job
            (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, created_at)
        SELECT
            id, in_namespace, to_queue, of_kind, with_payload, of_priority, with_retries, with_timeout_ms, with_tags,
            with_headers, created_at
        FROM placed
    )
    INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures)
    SELECT id, in_namespace, to_queue, of_kind, of_priority, created_at, 0, 0
    FROM placed
    RETURNING job_id, run_at INTO new_id, new_at;
    IF new_id IS NULL THEN
        RETURN;
    END IF;
    COMMIT;
    PERFORM set_config('synchronous_commit', 'off', true), pg_notify(on_channel, to_queue)
    WHERE pg_notification_queue_usage() < 0.5;
END
$$;
REVOKE ALL ON PROCEDURE taskflow.enqueue_and_wake(
    timestamptz, uuid, text, text, jsonb, smallint, smallint, integer, text[], jsonb, text, uuid, timestamptz
) FROM PUBLIC;
