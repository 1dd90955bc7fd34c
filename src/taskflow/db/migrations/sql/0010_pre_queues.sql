-- What operators say of queues, which job holds which unique key, and operations on many jobs at once.

-- Queues ---------------------------------------------------------------------------------------------------------

-- A queue exists because jobs or workers name it; a row only where somebody has said something about it.
-- limited_at: since when there is a limit without a break; what was claimed before is counted job by job.
CREATE TABLE taskflow.queue (
    name text PRIMARY KEY,
    paused_at timestamptz,
    draining_at timestamptz,
    concurrency integer CHECK (concurrency >= 1),
    limited_at timestamptz,
    changed_at timestamptz NOT NULL,
    CHECK ((concurrency IS NULL) = (limited_at IS NULL))
) WITH (fillfactor = 50);
CREATE INDEX queue_draining ON taskflow.queue (name) WHERE draining_at IS NOT NULL;

-- How many jobs of a queue with a limit may be claimed now, at most :wanted. Locks the queue's row until the claim has
-- committed, so that claims of one limited queue take turns, and each of them counts the leases of those before it:
-- in a VOLATILE function every statement has a snapshot of its own, taken after the lock was granted.
-- Leases that name no queue are looked into while some may be older than the limit: a claim that began before the
-- limit was committed is over within a minute.
CREATE FUNCTION taskflow.queue_room(queue_name text, wanted_kinds text[], wanted integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    said taskflow.queue;
    busy bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM taskflow.ready r WHERE r.queue = queue_name AND r.kind = ANY(wanted_kinds)) THEN
        RETURN 0;  -- nothing to claim: no reason to make others wait
    END IF;
    SELECT * INTO said FROM taskflow.queue q WHERE q.name = queue_name FOR NO KEY UPDATE;
    IF said.paused_at IS NOT NULL THEN
        RETURN 0;
    ELSIF said.concurrency IS NULL THEN
        RETURN wanted;
    END IF;
    SELECT coalesce(sum(bit_count(l.open)), 0) INTO busy FROM taskflow.lease l WHERE l.queue = queue_name;
    SELECT busy + count(*) INTO busy
    FROM taskflow.lease l
    CROSS JOIN unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
    CROSS JOIN LATERAL (SELECT x.queue FROM taskflow.job x WHERE x.id = u.job_id LIMIT 1) AS j
    WHERE l.queue IS NULL AND l.claimed_at <= said.limited_at + interval '1 minute'
      AND get_bit(l.open, u.ord::integer - 1) = 1 AND j.queue = queue_name;
    RETURN greatest(0, least(wanted, said.concurrency - busy));
END
$$;

-- Unique keys ----------------------------------------------------------------------------------------------------

-- Who holds a key. The row is written with its job and goes with what ends its scope: the claim, the end of the job,
-- or the end of its time (window; held_until). Two submits at once meet in the primary key.
CREATE TABLE taskflow.unique_claim (
    namespace uuid NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    job_id uuid NOT NULL,
    scope text NOT NULL CHECK (scope IN ('until_claimed', 'until_finished', 'window')),
    held_until timestamptz,
    PRIMARY KEY (namespace, kind, key),
    CHECK ((scope = 'window') = (held_until IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE UNIQUE INDEX unique_claim_job ON taskflow.unique_claim (job_id);
CREATE INDEX unique_claim_window ON taskflow.unique_claim (held_until) WHERE held_until IS NOT NULL;

-- Operations -----------------------------------------------------------------------------------------------------

-- Something done to all jobs that a filter finds, by an internal job. above is how far it has come: jobs are visited by
-- id from the newest down, each batch in one transaction with this row locked, so that a second runner goes on where
-- the first one was.
CREATE TABLE taskflow.operation (
    id uuid PRIMARY KEY,
    namespace uuid NOT NULL,
    action text NOT NULL CHECK (action IN ('cancel', 'retry', 'delete')),
    filter jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'completed')),
    below uuid,
    done bigint NOT NULL,
    failed bigint NOT NULL,
    job_id uuid,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    finished_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX operation_age ON taskflow.operation (created_at);
