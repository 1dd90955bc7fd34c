-- Schedules, the ledger of their firings, and statistics about jobs that ended.

-- A schedule: when, and the job that it submits. Exactly one of cron (in zone) and interval_ms (from anchor_at) is set.
-- What of the job is null comes from its kind when the schedule fires. next_at is null while it is paused, and when its
-- cron expression comes true no more. Its row is the lock of everything that happens to the schedule.
CREATE TABLE taskflow.schedule (
    id uuid PRIMARY KEY,
    namespace uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    cron text,
    zone text NOT NULL,
    interval_ms bigint,
    anchor_at timestamptz NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    queue text,
    priority smallint,
    retries smallint,
    timeout_ms integer,
    tags text[] NOT NULL,
    catchup text NOT NULL CHECK (catchup IN ('latest', 'all', 'none')),
    overlap text NOT NULL CHECK (overlap IN ('skip', 'allow')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    paused_at timestamptz,
    next_at timestamptz,
    last_fire_at timestamptz,
    last_outcome text,
    last_job_id uuid,
    last_job_at timestamptz,
    CHECK ((cron IS NULL) <> (interval_ms IS NULL))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX schedule_name ON taskflow.schedule (namespace, name);
CREATE INDEX schedule_list ON taskflow.schedule (namespace, id DESC);
CREATE INDEX schedule_due ON taskflow.schedule (next_at, id) WHERE next_at IS NOT NULL;

-- The ledger: one row per instant of a schedule, written in the transaction that submits its job, so that nobody fires
-- it again. A row 'missed' stands for all instants from fire_at to missed_until that were not fired.
CREATE TABLE taskflow.schedule_tick (
    schedule_id uuid NOT NULL,
    fire_at timestamptz NOT NULL,
    namespace uuid NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('fired', 'skipped', 'missed', 'failed')),
    manual boolean NOT NULL,
    job_id uuid,
    detail text,
    missed_until timestamptz,
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (schedule_id, fire_at)
);
CREATE INDEX schedule_tick_age ON taskflow.schedule_tick (decided_at);

-- Statistics ------------------------------------------------------------------------------------------------------

-- Buckets of a time, two per doubling: 1 is up to 1 ms, bucket n ends at 2 ^ ((n - 1) / 2) ms, 56 holds all that is
-- longer than two days. A reader knows a time within a fifth.
CREATE FUNCTION taskflow.stat_bucket(seconds double precision) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(56, 1 + ceil(ln(greatest(seconds * 1000, 1)) / 0.34657359027997264))::smallint;

-- Every statement that ends jobs appends here, in its own transaction, so that jobs and their count come together. A
-- row of the measure 'run' counts jobs by how long their last attempt ran, bucket 0 being those that did not run; these
-- rows alone say how many jobs ended. A row of the measure 'wait' counts jobs by how long they had been due when they
-- were claimed for their last attempt: those of them that an attempt ended, and not those that were cancelled while they
-- waited, expired, or were cancelled when their lease was taken back; nor those whose attempt over HTTP the leader ended,
-- because its worker did not: nobody knows any more.
-- The leader folds the rows into stat_hour; readers add up both tables, so what they see is exact at every moment.
CREATE TABLE taskflow.stat_delta (
    namespace uuid NOT NULL,
    hour timestamptz NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('completed', 'failed', 'cancelled')),
    measure text NOT NULL CHECK (measure IN ('run', 'wait')),
    bucket smallint NOT NULL,
    jobs bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE taskflow.stat_hour (
    namespace uuid NOT NULL,
    hour timestamptz NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    measure text NOT NULL,
    bucket smallint NOT NULL,
    jobs bigint NOT NULL,
    PRIMARY KEY (namespace, hour, queue, kind, state, measure, bucket)
) WITH (fillfactor = 70);
