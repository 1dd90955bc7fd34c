-- End attempts that did not succeed: error, timeout, crash, snooze, cancelled, handed back. Fenced like complete.sql.
-- A cancel that was asked for meanwhile wins over every outcome that would run the job again.
-- age_s is how long ago the attempt ended; a wait counts from now; queue_wait_s is how long the job had been due when it
-- was claimed (NULL: nobody knows any more, and it is not counted); run_s how long its handler ran, and so when it began.
-- What ended is counted in stat_delta.
-- Returns what was refused.
-- Locks: the lease rows in id order.
WITH given AS MATERIALIZED (
    SELECT *
    FROM unnest(
        :row_leases::uuid[], :positions::integer[], :job_ids::uuid[], :namespaces::uuid[], :queues::text[],
        :kinds::text[], :priorities::smallint[], :attempts::integer[], :failures::smallint[], :outcomes::text[],
        :states::text[], :waits_s::double precision[], :errors::text[], :reasons::text[],
        :begun::boolean[], :ages_s::double precision[], :crashes::smallint[], :suspects::boolean[],
        :queue_waits_s::double precision[], :runs_s::double precision[]
    ) AS g(
        lease_id, position, job_id, namespace, queue, kind, priority, attempt, failures, outcome, state, wait_s,
        error, reason, has_begun, age_s, crashes, suspect, queue_wait_s, run_s
    )
), held AS MATERIALIZED (
    SELECT id, open, cancels, claimed_at
    FROM taskflow.lease WHERE id = ANY(:lease_ids::uuid[]) ORDER BY id FOR UPDATE
), rest AS MATERIALIZED (
    SELECT h.id, h.open & ~m.mask AS open
    FROM held h
    JOIN unnest(:lease_ids::uuid[], :masks::bit varying[]) AS m(lease_id, mask) ON m.lease_id = h.id
), emptied AS (
    DELETE FROM taskflow.lease l USING rest WHERE l.id = rest.id AND bit_count(rest.open) = 0
), narrowed AS (
    UPDATE taskflow.lease l SET open = rest.open FROM rest WHERE l.id = rest.id AND bit_count(rest.open) > 0
), won AS MATERIALIZED (
    SELECT
        g.lease_id, g.position, g.job_id, g.namespace, g.queue, g.kind, g.priority, g.attempt, g.failures,
        g.crashes, g.suspect, g.error::jsonb AS error, g.reason, g.outcome, g.queue_wait_s, g.run_s,
        CASE
            WHEN g.state IN ('pending', 'retrying', 'scheduled') AND h.cancels ? g.position::text THEN 'cancelled'
            ELSE g.state
        END AS state,
        h.claimed_at,
        coalesce(:now::timestamptz, statement_timestamp()) - g.age_s * interval '1 second' AS at,
        CASE WHEN g.has_begun THEN greatest(
            h.claimed_at,
            coalesce(:now::timestamptz, statement_timestamp()) - (g.age_s + g.run_s) * interval '1 second'
        ) END AS started_at,
        coalesce(:now::timestamptz, statement_timestamp()) + g.wait_s * interval '1 second' AS run_at
    FROM given g
    JOIN held h ON h.id = g.lease_id
    WHERE get_bit(h.open, g.position) = 1
), ended AS (
    INSERT INTO taskflow.done
        (job_id, namespace, queue, kind, state, failure_reason, attempt, failures, error, started_at, finished_at)
    SELECT
        job_id, namespace, queue, kind, state, CASE WHEN state = 'failed' THEN reason END,
        attempt, failures, error, started_at, at
    FROM won WHERE state IN ('failed', 'cancelled')
), counted AS (
    INSERT INTO taskflow.stat_delta (namespace, hour, queue, kind, state, measure, bucket, jobs)
    SELECT
        namespace, hour, queue, kind, state, CASE WHEN grouping(run) = 0 THEN 'run' ELSE 'wait' END,
        coalesce(run, wait), count(*)
    FROM (
        SELECT
            namespace, queue, kind, state, date_bin('1 hour', at, '2000-01-01 00:00:00+00') AS hour,
            CASE
                WHEN started_at IS NULL THEN 0
                ELSE taskflow.stat_bucket(coalesce(run_s, date_part('epoch', at - started_at)))
            END AS run,
            CASE WHEN queue_wait_s IS NOT NULL THEN taskflow.stat_bucket(queue_wait_s) END AS wait
        FROM won
        WHERE state IN ('failed', 'cancelled')
    ) AS ended
    GROUP BY GROUPING SETS ((namespace, queue, kind, state, hour, run), (namespace, queue, kind, state, hour, wait))
    HAVING grouping(run) = 0 OR wait IS NOT NULL
), later AS (
    INSERT INTO taskflow.deferred (job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, state)
    SELECT job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect, state
    FROM won WHERE state IN ('retrying', 'scheduled')
), again AS (
    -- Handed back: due since the claim, so that it stands before what came later.
    INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures, crashes, suspect)
    SELECT job_id, namespace, queue, kind, priority, claimed_at, attempt, failures, crashes, suspect
    FROM won WHERE state = 'pending'
), history AS (
    INSERT INTO taskflow.attempt_log
        (job_id, namespace, attempt, outcome, error, started_at, finished_at, retry_at)
    SELECT
        job_id, namespace, attempt, outcome, error, started_at, at,
        CASE WHEN state IN ('retrying', 'scheduled') THEN run_at END
    FROM won
)
SELECT g.lease_id, g.position
FROM given g
WHERE NOT EXISTS (SELECT FROM won w WHERE w.lease_id = g.lease_id AND w.position = g.position);
