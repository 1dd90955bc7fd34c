-- The engine's storage. How it is laid out and why: docs/decisions/0001-storage-layout.md.
--
--   job      the body, written once                      done         terminal state and result, append-only
--   ready    what may be claimed now, deleted at claim   attempt_log  attempts that did not succeed
--   deferred scheduled and retrying, by run_at           job_log      lines that handlers wrote
--   lease    one row per claimed batch: who holds which jobs, and which of them are still open
--
-- A live job is in exactly one of ready, deferred or an open bit of a lease; an ended one is in done.
-- Locks are taken in this order: lease rows by id, then ready/deferred/done rows by job id.
-- No foreign keys, triggers or enum types on these tables: each costs every job, and the statements keep the rules.

-- Ids -----------------------------------------------------------------------------------------------------------

-- UUIDv7 (RFC 9562): 48 bits of milliseconds, 12 bits of the millisecond's fraction, 62 random bits. Of our own,
-- because PostgreSQL has one only from 18 on, and because a batch spreads its ids by a microsecond to keep its order.
CREATE FUNCTION taskflow.uuid_v7(at timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN (
    lpad(to_hex((extract(epoch FROM at) * 1000000)::bigint / 1000), 12, '0')
    || '7' || lpad(to_hex(((extract(epoch FROM at) * 1000000)::bigint % 1000) * 4096 / 1000), 3, '0')
    || right(replace(gen_random_uuid()::text, '-', ''), 16)
)::uuid;

-- The smallest id of an instant: bounds of partitions and of "created from … to".
CREATE FUNCTION taskflow.uuid_v7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN rpad(lpad(to_hex((extract(epoch FROM at) * 1000000)::bigint / 1000), 12, '0'), 32, '0')::uuid;

-- Jobs ----------------------------------------------------------------------------------------------------------

CREATE TABLE taskflow.job (
    id uuid NOT NULL,
    namespace uuid NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    priority smallint NOT NULL,
    retries smallint NOT NULL,
    timeout_ms integer NOT NULL,
    tags text[] NOT NULL,
    headers jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    unique_key text,
    unique_scope text CHECK (unique_scope IN ('until_claimed', 'until_finished', 'window')),
    expires_at timestamptz,
    callback_url text,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX job_list ON taskflow.job (namespace, id);

-- crashes counts how often a job has ended its own child process; suspect says that it was running when a process died,
-- so that it runs alone next. Hardly any job has either.
-- The key of ready and of deferred is made after the other index: of two that would cost the same, the planner takes the
-- younger, and while a table is empty all cost the same.
-- expires_at and holds_key (a unique key that the claim releases) are said of jobs that were never claimed only.
CREATE TABLE taskflow.ready (
    job_id uuid NOT NULL,
    namespace uuid NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    priority smallint NOT NULL,
    run_at timestamptz NOT NULL,
    attempt integer NOT NULL,
    failures smallint NOT NULL,
    crashes smallint NOT NULL DEFAULT 0,
    suspect boolean NOT NULL DEFAULT false,
    holds_key boolean NOT NULL DEFAULT false,
    expires_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX ready_claim ON taskflow.ready (queue, priority DESC, run_at, job_id);
CREATE INDEX ready_expiry ON taskflow.ready (expires_at) WHERE expires_at IS NOT NULL;
ALTER TABLE taskflow.ready ADD PRIMARY KEY (job_id);

CREATE TABLE taskflow.deferred (
    job_id uuid NOT NULL,
    namespace uuid NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    priority smallint NOT NULL,
    run_at timestamptz NOT NULL,
    attempt integer NOT NULL,
    failures smallint NOT NULL,
    state text NOT NULL CHECK (state IN ('scheduled', 'retrying')),
    crashes smallint NOT NULL DEFAULT 0,
    suspect boolean NOT NULL DEFAULT false,
    holds_key boolean NOT NULL DEFAULT false,
    expires_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX deferred_due ON taskflow.deferred (run_at, job_id);
CREATE INDEX deferred_expiry ON taskflow.deferred (expires_at) WHERE expires_at IS NOT NULL;
ALTER TABLE taskflow.deferred ADD PRIMARY KEY (job_id);

-- Position p (0 up) of job_ids, attempts and failures belongs to bit p of open. cancels: {"p": when it was asked}.
-- marks: {"p": [crashes, suspect]} of jobs that have either; NULL for nearly every lease.
-- id is random on purpose: a sequence may repeat a value after a crash, and this is the fence.
-- queue is set where the queue has settings: its jobs have leases of their own, so that they can be counted.
CREATE TABLE taskflow.lease (
    id uuid PRIMARY KEY,
    worker_id uuid NOT NULL,
    incarnation integer NOT NULL,
    job_ids uuid[] NOT NULL,
    attempts integer[] NOT NULL,
    failures smallint[] NOT NULL,
    open bit varying NOT NULL,
    cancels jsonb,
    claimed_at timestamptz NOT NULL,
    marks jsonb,
    queue text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lease_queue ON taskflow.lease (queue) WHERE queue IS NOT NULL;

CREATE TABLE taskflow.done (
    job_id uuid NOT NULL,
    namespace uuid NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('completed', 'failed', 'cancelled')),
    failure_reason text,
    attempt integer NOT NULL,
    failures smallint NOT NULL,
    result jsonb,
    error jsonb,
    started_at timestamptz,
    finished_at timestamptz NOT NULL
) PARTITION BY RANGE (finished_at);
-- Also the way to one job: three probes, one per state, spare the busiest append a second index.
CREATE UNIQUE INDEX done_job ON taskflow.done (namespace, state, job_id DESC, finished_at);

CREATE TABLE taskflow.attempt_log (
    job_id uuid NOT NULL,
    namespace uuid NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    error jsonb,
    started_at timestamptz,
    finished_at timestamptz NOT NULL,
    retry_at timestamptz
) PARTITION BY RANGE (finished_at);
CREATE INDEX attempt_log_job ON taskflow.attempt_log (job_id, attempt);

CREATE SEQUENCE taskflow.job_log_seq;
CREATE TABLE taskflow.job_log (
    job_id uuid NOT NULL,
    namespace uuid NOT NULL,
    seq bigint NOT NULL DEFAULT nextval('taskflow.job_log_seq'),
    attempt integer NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    at timestamptz NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX job_log_job ON taskflow.job_log (job_id, seq);

-- Consequences --------------------------------------------------------------------------------------------------

-- What follows from jobs having ended, written in the transaction that ends them: one does not happen without the other.
-- Every path that ends jobs calls this for those that need it (their claim `settles`), as a second statement: the rows
-- in done must be visible. Ids of jobs that have not ended, or were settled before, change nothing.
--
--   a callback_url   a delivery, and the engine's own job that makes it (namespace 1, which belongs to nobody)
--   a delivery's job what became of it is noted in its delivery
--   a unique key     released, unless it is held for a time
--
-- settled_at is for tests, which move time. Locks: the rows in webhook_delivery of deliveries that ended, those of keys.
-- Indexes: the primary keys of job and webhook_delivery, done_job, unique_claim_job.
CREATE FUNCTION taskflow.settle(job_ids uuid[], settled_at timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    system_namespace CONSTANT uuid := '00000000-0000-0000-0000-000000000001';
BEGIN
    WITH /* taskflow:settle */ ended AS MATERIALIZED (
        SELECT
            j.id, j.namespace, j.kind, j.callback_url, j.headers, d.state, d.error ->> 'message' AS error, d.finished_at,
            coalesce(settled_at, statement_timestamp()) + row_number() OVER (ORDER BY j.id) * interval '1 microsecond'
                AS at
        FROM unnest(job_ids) AS wanted(id)
        CROSS JOIN LATERAL (SELECT * FROM taskflow.job x WHERE x.id = wanted.id LIMIT 1) j
        CROSS JOIN LATERAL (
            SELECT * FROM taskflow.done x
            WHERE x.namespace = j.namespace AND x.state = ANY('{completed,failed,cancelled}'::text[])
              AND x.job_id = j.id AND x.finished_at >= j.created_at - interval '1 hour'
            LIMIT 1
        ) d
    ), delivery AS (
        -- A job that is replayed ends again, and that is told again; the same end is told once.
        INSERT INTO taskflow.webhook_delivery
            (id, namespace, job_id, kind, event, error, ended_at, status, created_at)
        SELECT taskflow.uuid_v7(at), namespace, id, kind, 'job.' || state, error, finished_at, 'pending', at
        FROM ended WHERE callback_url IS NOT NULL
        ON CONFLICT (job_id, ended_at) DO NOTHING
        RETURNING id, namespace, job_id, created_at
    ), body AS (
        INSERT INTO taskflow.job
            (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, created_at)
        SELECT
            v.id, system_namespace, 'webhooks', 'deliver_webhook',
            jsonb_build_object('jobId', v.job_id, 'namespace', v.namespace), 5, 9, 120000, '{}', e.headers, v.created_at
        FROM delivery v
        JOIN ended e ON e.id = v.job_id
    ), now_ready AS (
        INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures)
        SELECT id, system_namespace, 'webhooks', 'deliver_webhook', 5, created_at, 0, 0 FROM delivery
    ), released AS (
        DELETE FROM taskflow.unique_claim u
        WHERE u.job_id = ANY(ARRAY(SELECT id FROM ended)) AND u.scope <> 'window'
    )
    UPDATE taskflow.webhook_delivery v
    SET (status, settled_at) = (
        SELECT CASE e.state WHEN 'completed' THEN 'delivered' ELSE 'failed' END, e.finished_at
        FROM ended e WHERE e.id = v.id
    )
    -- An array can only be looked up by index, whatever statistics say of a table that was empty.
    WHERE v.id = ANY(ARRAY(
        SELECT id FROM ended WHERE ended.kind = 'deliver_webhook' AND ended.namespace = system_namespace
    ));
END
$$;

-- Workers -------------------------------------------------------------------------------------------------------

-- One row per supervisor, or per worker that works over HTTP: that one has a namespace, whose jobs alone it is given, and
-- perhaps a lease of its own choice (NULL: the usual one). heartbeat_at is in no index, so that a beat is a HOT update.
CREATE TABLE taskflow.worker (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    queues text[] NOT NULL,
    kinds text[] NOT NULL,
    concurrency integer NOT NULL,
    started_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    namespace uuid,
    lease_s double precision
) WITH (fillfactor = 50);

-- Every schema that a kind ever had; the one published last validates new payloads. namespace is whose workers published
-- it over HTTP (NULL: the deployment's own); a name that one of them has, no other may publish.
CREATE TABLE taskflow.kind (
    name text NOT NULL,
    schema_hash text NOT NULL,
    queue text NOT NULL,
    schema jsonb NOT NULL,
    priority smallint NOT NULL,
    retries smallint NOT NULL,
    timeout_ms integer NOT NULL,
    published_at timestamptz NOT NULL,
    namespace uuid,
    PRIMARY KEY (name, schema_hash)
);

CREATE TABLE taskflow.leader (
    name text PRIMARY KEY,
    holder uuid NOT NULL,
    term bigint NOT NULL,
    elected_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Partitions ----------------------------------------------------------------------------------------------------

-- Make the daily partitions (UTC) from first_day on, where they are missing; returns how many were made.
-- CREATE TABLE LIKE and ATTACH take SHARE UPDATE EXCLUSIVE on the parent, which no submit waits for;
-- CREATE TABLE … PARTITION OF would take ACCESS EXCLUSIVE. Two at once take turns by an advisory lock.
CREATE FUNCTION taskflow.make_partitions(first_day date, days integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    part text;
    day date;
    low text;
    high text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(723641, 0);
    FOREACH parent IN ARRAY ARRAY['job', 'done', 'attempt_log', 'job_log'] LOOP
        FOR step IN 0 .. days - 1 LOOP
            day := first_day + step;
            part := format('%s_%s', parent, to_char(day, 'YYYYMMDD'));
            CONTINUE WHEN to_regclass(format('taskflow.%I', part)) IS NOT NULL;
            IF parent = 'job' THEN
                low := taskflow.uuid_v7_floor(day::timestamp AT TIME ZONE 'UTC')::text;
                high := taskflow.uuid_v7_floor((day + 1)::timestamp AT TIME ZONE 'UTC')::text;
            ELSE
                low := (day::timestamp AT TIME ZONE 'UTC')::text;
                high := ((day + 1)::timestamp AT TIME ZONE 'UTC')::text;
            END IF;
            EXECUTE format('CREATE TABLE taskflow.%I (LIKE taskflow.%I INCLUDING ALL)', part, parent);
            EXECUTE format('ALTER TABLE taskflow.%I ATTACH PARTITION taskflow.%I FOR VALUES FROM (%L) TO (%L)',
                           parent, part, low, high);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

SELECT taskflow.make_partitions((now() AT TIME ZONE 'UTC')::date - 1, 9);
