-- End attempts that succeeded: clear their open bits, and append to done only those whose bit was really set.
-- Returns what was refused (LeaseLost): the claim was taken back, or this is a second try of a flush that had arrived.
-- What ended is counted in stat_delta, grouped: by how long it ran, and by how long it had waited (wait_s).
-- An attempt that ended began when its handler was called: run_s before its end, which the start of a child process is no
-- part of (NULL: with the claim). age_s is how long ago it ended: a flush comes a moment later.
-- Locks: the lease rows in id order. :masks has a bit for each position that ends, per lease of :lease_ids.
WITH given AS MATERIALIZED (
    SELECT *
    FROM unnest(
        :row_leases::uuid[], :positions::integer[], :job_ids::uuid[], :namespaces::uuid[], :queues::text[],
        :kinds::text[], :attempts::integer[], :failures::smallint[], :results::text[], :ages_s::double precision[],
        :waits_s::double precision[], :runs_s::double precision[]
    ) AS g(lease_id, position, job_id, namespace, queue, kind, attempt, failures, result, age_s, wait_s, run_s)
), held AS MATERIALIZED (
    SELECT id, open, claimed_at FROM taskflow.lease WHERE id = ANY(:lease_ids::uuid[]) ORDER BY id FOR UPDATE
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
        g.*, h.claimed_at, coalesce(:now::timestamptz, statement_timestamp()) - g.age_s * interval '1 second' AS at
    FROM given g
    JOIN held h ON h.id = g.lease_id
    WHERE get_bit(h.open, g.position) = 1
), written AS (
    INSERT INTO taskflow.done
        (job_id, namespace, queue, kind, state, attempt, failures, result, started_at, finished_at)
    SELECT
        job_id, namespace, queue, kind, 'completed', attempt, failures, result::jsonb,
        greatest(claimed_at, at - run_s * interval '1 second'), at
    FROM won
), counted AS (
    INSERT INTO taskflow.stat_delta (namespace, hour, queue, kind, state, measure, bucket, jobs)
    SELECT
        namespace, hour, queue, kind, 'completed', CASE WHEN grouping(run) = 0 THEN 'run' ELSE 'wait' END,
        coalesce(run, wait), count(*)
    FROM (
        SELECT
            namespace, queue, kind, date_bin('1 hour', at, '2000-01-01 00:00:00+00') AS hour,
            taskflow.stat_bucket(coalesce(run_s, date_part('epoch', at - claimed_at))) AS run,
            taskflow.stat_bucket(wait_s) AS wait
        FROM won
    ) AS ended
    GROUP BY GROUPING SETS ((namespace, queue, kind, hour, run), (namespace, queue, kind, hour, wait))
)
SELECT g.lease_id, g.position
FROM given g
WHERE NOT EXISTS (SELECT FROM won w WHERE w.lease_id = g.lease_id AND w.position = g.position);
