-- Take up to :limit ready jobs for one worker process, under one lease with one open bit per job.
-- Queues are served in the order given (callers rotate it); inside one: priority, then time, then id.
-- A queue with settings gives as many as they leave room for (taskflow.queue_room), under a lease of its own: the one
-- of :lease_ids at the queue's place in :queues plus one; all other jobs are under the first. Jobs past their
-- expires_at are left to the sweep.
-- Locks: queues with a limit, in the order of their names, so that their claims take turns; the taken ready rows, where
-- rows that others hold are skipped; unique keys that end with the claim. Indexes: ready_claim, per queue and
-- priority; the primary keys of job and queue; unique_claim_job.
-- ctid = ANY(ARRAY(…)) makes the choice once, before the delete: a join could run it again and take more than :limit.
-- The bodies are looked up one by one (LATERAL with LIMIT 1), whatever statistics say of a partition that was empty.
-- Suspects are walked over unless :suspects, for callers that could not run several of them one by one.
-- A worker whose row is gone was declared dead and gets nothing. One that works over HTTP gets jobs of its :namespace
-- only (NULL: of all); jobs of others that stand before them in the queue are walked over: it wants queues of its own.
-- :after_run_at and :after_job_id say where to begin, ten places from priority 0 to 9 for each of :queues; NULL, or no
-- such element: at the front. Never behind the last quarter of a second, when others may still commit.
WITH room AS MATERIALIZED (
    SELECT
        said.name, array_position(:queues::text[], said.name) AS lane,
        CASE
            WHEN said.is_paused THEN 0
            ELSE taskflow.queue_room(said.name, :kinds::text[], :limit::integer)
        END AS places
    FROM (
        SELECT q.name, q.paused_at IS NOT NULL AS is_paused
        FROM taskflow.queue q
        WHERE q.name = ANY(:queues::text[]) AND (q.paused_at IS NOT NULL OR q.concurrency IS NOT NULL)
        ORDER BY q.name
        OFFSET 0
    ) AS said
), taken AS MATERIALIZED (
    DELETE FROM taskflow.ready
    WHERE ctid = ANY(ARRAY(
        SELECT candidate.ctid
        FROM unnest(:queues::text[]) WITH ORDINALITY AS lane(queue, turn)
        CROSS JOIN LATERAL (
            SELECT of_level.ctid
            FROM generate_series(9, 0, -1) AS level(priority)
            CROSS JOIN LATERAL (
                SELECT r.ctid
                FROM taskflow.ready r
                WHERE r.queue = lane.queue AND r.priority = level.priority
                  AND (r.run_at, r.job_id) > (
                      least(
                          coalesce((:after_run_at::timestamptz[])[lane.turn * 10 + level.priority - 9], '-infinity'),
                          coalesce(:now::timestamptz, statement_timestamp()) - interval '250 ms'
                      ),
                      (:after_job_id::uuid[])[lane.turn * 10 + level.priority - 9]
                  )
                  AND r.kind = ANY(:kinds::text[])
                  AND (:namespace::uuid IS NULL OR r.namespace = :namespace::uuid)
                  AND (:suspects::boolean OR NOT r.suspect)
                  AND (r.expires_at IS NULL OR r.expires_at > coalesce(:now::timestamptz, statement_timestamp()))
                ORDER BY r.run_at, r.job_id
                LIMIT :limit::integer
                FOR UPDATE SKIP LOCKED
            ) AS of_level
            LIMIT coalesce((SELECT m.places FROM room m WHERE m.name = lane.queue), :limit::integer)
        ) AS candidate
        WHERE EXISTS (SELECT FROM taskflow.worker w WHERE w.id = :worker_id::uuid)
        LIMIT :limit
    ))
    RETURNING job_id, namespace, queue, kind, priority, run_at, attempt + 1 AS attempt, failures, crashes, suspect,
        holds_key
), placed AS MATERIALIZED (
    SELECT
        t.*, m.lane,
        (row_number() OVER (PARTITION BY m.lane ORDER BY t.priority DESC, t.run_at, t.job_id) - 1)::integer AS position
    FROM taken t
    LEFT JOIN room m ON m.name = t.queue
), leased AS (
    INSERT INTO taskflow.lease (id, worker_id, incarnation, job_ids, attempts, failures, open, marks, claimed_at, queue)
    SELECT
        (:lease_ids::uuid[])[coalesce(lane, 0) + 1], :worker_id::uuid, :incarnation::integer,
        array_agg(job_id ORDER BY position), array_agg(attempt ORDER BY position),
        array_agg(failures ORDER BY position), repeat('1', count(*)::integer)::bit varying,
        jsonb_object_agg(position, jsonb_build_array(crashes, suspect)) FILTER (WHERE suspect OR crashes > 0),
        coalesce(:now::timestamptz, statement_timestamp()), CASE WHEN lane IS NOT NULL THEN min(queue) END
    FROM placed
    GROUP BY lane
), released AS (
    DELETE FROM taskflow.unique_claim u USING taken t WHERE t.holds_key AND u.job_id = t.job_id
)
SELECT
    p.position, p.job_id, p.attempt, p.failures, p.crashes, p.suspect, p.namespace, p.kind, p.queue, p.priority,
    j.payload, j.retries, j.timeout_ms, nullif(j.headers, '{}') AS headers,
    j.callback_url IS NOT NULL OR p.kind = 'deliver_webhook' OR j.unique_scope IS NOT DISTINCT FROM 'until_finished'
        AS settles,
    extract(epoch FROM coalesce(:now::timestamptz, statement_timestamp()) - p.run_at)::double precision AS queue_wait_s,
    p.run_at, p.lane
FROM placed p
LEFT JOIN LATERAL (SELECT * FROM taskflow.job x WHERE x.id = p.job_id LIMIT 1) j ON true
ORDER BY p.lane NULLS FIRST, p.position;
