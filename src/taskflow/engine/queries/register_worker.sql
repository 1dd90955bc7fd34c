-- A supervisor says that it lives. Locks: none but the new row.
INSERT INTO taskflow.worker (id, host, pid, queues, kinds, concurrency, started_at, heartbeat_at)
VALUES (
    :worker_id, :host, :pid, :queues, '{}', :concurrency,
    coalesce(:now::timestamptz, now()), coalesce(:now::timestamptz, now())
);
