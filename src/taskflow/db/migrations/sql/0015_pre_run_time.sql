-- How long an attempt ran that completes in a transaction of its own: since its handler was called, as complete.sql says
-- it of others. A function beside the first, which code of before goes on to call.

-- End one attempt as completed, in the caller's transaction: what else it does happens if and only if the job completes.
-- False: the claim was taken back; the caller must roll back. Locks: the lease row, so that it is the last to be called
-- before the commit. wait_s is how long the job had been due when it was claimed; run_s how long its handler has run, and
-- so when it began (NULL: with the claim).
-- The same rules as queries/complete.sql, for one job; and what follows from its end is settled at once.
CREATE FUNCTION taskflow.complete_one(
    lease_id uuid, "position" integer, result jsonb, wait_s double precision, run_s double precision
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ended_at CONSTANT timestamptz := clock_timestamp();
    held taskflow.lease;
    body taskflow.job;
BEGIN
    SELECT * INTO held FROM taskflow.lease l WHERE l.id = complete_one.lease_id FOR UPDATE;
    IF NOT FOUND OR complete_one."position" NOT BETWEEN 0 AND length(held.open) - 1
        OR get_bit(held.open, complete_one."position") = 0 THEN
        RETURN false;
    END IF;
    held.open := set_bit(held.open, complete_one."position", 0);
    IF bit_count(held.open) = 0 THEN
        DELETE FROM taskflow.lease l WHERE l.id = held.id;
    ELSE
        UPDATE taskflow.lease l SET open = held.open WHERE l.id = held.id;
    END IF;
    SELECT * INTO STRICT body FROM taskflow.job j WHERE j.id = held.job_ids[complete_one."position" + 1];
    INSERT INTO taskflow.done
        (job_id, namespace, queue, kind, state, attempt, failures, result, started_at, finished_at)
    VALUES (
        body.id, body.namespace, body.queue, body.kind, 'completed', held.attempts[complete_one."position" + 1],
        held.failures[complete_one."position" + 1], complete_one.result,
        greatest(held.claimed_at, ended_at - complete_one.run_s * interval '1 second'), ended_at
    );
    INSERT INTO taskflow.stat_delta (namespace, hour, queue, kind, state, measure, bucket, jobs)
    VALUES
        (body.namespace, date_trunc('hour', ended_at, 'UTC'), body.queue, body.kind, 'completed', 'run',
         taskflow.stat_bucket(coalesce(complete_one.run_s, date_part('epoch', ended_at - held.claimed_at))), 1),
        (body.namespace, date_trunc('hour', ended_at, 'UTC'), body.queue, body.kind, 'completed', 'wait',
         taskflow.stat_bucket(complete_one.wait_s), 1);
    PERFORM taskflow.settle(ARRAY[body.id]);
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION taskflow.complete_one(uuid, integer, jsonb, double precision, double precision) FROM PUBLIC;

-- For code that does not know run_s. Nobody calls it by default of the other: that one's arguments are all required.
CREATE OR REPLACE FUNCTION taskflow.complete_one(
    lease_id uuid, "position" integer, result jsonb, wait_s double precision DEFAULT 0
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN taskflow.complete_one(lease_id, "position", result, wait_s, NULL);
END
$$;
