-- Take up to :limit ready jobs for one worker process, under one lease with one open bit per job.
-- Queues are served in the order given (callers rotate it); inside one: priority, then time, then id.
-- Locks: the taken ready rows; rows that others hold are skipped. Indexes: ready_claim, per queue; job's primary key.
-- ctid = ANY(ARRAY(…)) makes the choice once, before the delete: a join could run it again and take more than :limit.
-- The bodies are looked up one by one (LATERAL with LIMIT 1), whatever statistics say of a partition that was empty.
-- A worker whose row is gone was declared dead and gets nothing. One that works over HTTP gets jobs of its :namespace
-- only (NULL: of all); jobs of others that stand before them in the queue are walked over, so it wants queues of its own.
WITH taken AS MATERIALIZED (
    DELETE FROM taskflow.ready
    WHERE ctid = ANY(ARRAY(
        SELECT candidate.ctid
        FROM unnest(:queues::text[]) AS lane(queue)
        CROSS JOIN LATERAL (
            SELECT r.ctid
            FROM taskflow.ready r
            WHERE r.queue = lane.queue AND r.kind = ANY(:kinds::text[])
              AND (:namespace::uuid IS NULL OR r.namespace = :namespace::uuid)
            ORDER BY r.priority DESC, r.run_at, r.job_id
            LIMIT :limit
            FOR UPDATE SKIP LOCKED
        ) AS candidate
        WHERE EXISTS (SELECT FROM taskflow.worker w WHERE w.id = :worker_id::uuid)
        LIMIT :limit
    ))
    RETURNING job_id, namespace, queue, kind, priority, run_at, attempt + 1 AS attempt, failures, crashes, suspect
), placed AS MATERIALIZED (
    SELECT t.*, (row_number() OVER (ORDER BY t.priority DESC, t.run_at, t.job_id) - 1)::integer AS position
    FROM taken t
), leased AS (
    INSERT INTO taskflow.lease (id, worker_id, incarnation, job_ids, attempts, failures, open, marks, claimed_at)
    SELECT
        :lease_id::uuid, :worker_id::uuid, :incarnation::integer,
        array_agg(job_id ORDER BY position), array_agg(attempt ORDER BY position),
        array_agg(failures ORDER BY position), repeat('1', count(*)::integer)::bit varying,
        jsonb_object_agg(position, jsonb_build_array(crashes, suspect)) FILTER (WHERE suspect OR crashes > 0),
        coalesce(:now::timestamptz, statement_timestamp())
    FROM placed
    HAVING count(*) > 0
)
SELECT
    p.position, p.job_id, p.attempt, p.failures, p.crashes, p.suspect, p.namespace, p.kind, p.queue, p.priority,
    j.payload, j.retries, j.timeout_ms, nullif(j.headers, '{}') AS headers,
    j.callback_url IS NOT NULL OR p.kind = 'deliver_webhook' AS settles,
    extract(epoch FROM coalesce(:now::timestamptz, statement_timestamp()) - p.run_at)::double precision AS queue_wait_s
FROM placed p
LEFT JOIN LATERAL (SELECT * FROM taskflow.job x WHERE x.id = p.job_id LIMIT 1) j ON true
ORDER BY p.position;
