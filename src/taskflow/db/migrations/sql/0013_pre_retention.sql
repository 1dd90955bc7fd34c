-- What is dropped when jobs have ended long ago. The leader's duty: engine/retention.py.

-- One row, written by the leader at each look. kept_days: null, everything is kept. kept_from: jobs that ended before
-- that day (UTC) have been dropped, or are about to be. looked_at is the newest instant that the database is known to
-- have seen; steady_since, since when its clock has gone from look to look without a jump.
CREATE TABLE taskflow.retention (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    kept_days integer CHECK (kept_days >= 1),
    kept_from date,
    looked_at timestamptz NOT NULL,
    steady_since timestamptz NOT NULL
);

-- Partitions that were chosen to be dropped: written before one is detached, deleted with the table. What somebody else
-- detached is not in here, and not touched.
CREATE TABLE taskflow.partition_drop (
    name text PRIMARY KEY,
    begun_at timestamptz NOT NULL
);

-- Of the jobs of one day's partition of job, up to :most whose bodies are needed: those that have not ended, and those
-- whose end is kept. The partition may be detached. One statement, so one snapshot: a live job is in exactly one place.
-- The index of done begins with the namespace: the day's namespaces are found by jumping from one to the next.
-- Locks: none. Indexes: the primary keys of ready and deferred, job_list, done_job. Leases are scanned.
CREATE FUNCTION taskflow.needed_jobs(day date, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql AS $$
DECLARE
    opens CONSTANT timestamptz := day::timestamp AT TIME ZONE 'UTC';
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH RECURSIVE owner(namespace) AS (
            (SELECT j.namespace FROM taskflow.%1$I j ORDER BY j.namespace LIMIT 1)
            UNION ALL
            SELECT (
                SELECT j.namespace FROM taskflow.%1$I j WHERE j.namespace > o.namespace ORDER BY j.namespace LIMIT 1
            )
            FROM owner o WHERE o.namespace IS NOT NULL
        )
        SELECT needed.job_id FROM (
            SELECT r.job_id FROM taskflow.ready r WHERE r.job_id >= $1 AND r.job_id < $2
            UNION ALL
            SELECT f.job_id FROM taskflow.deferred f WHERE f.job_id >= $1 AND f.job_id < $2
            UNION ALL
            SELECT u.job_id
            FROM taskflow.lease l
            CROSS JOIN LATERAL unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
            WHERE u.job_id >= $1 AND u.job_id < $2 AND get_bit(l.open, u.ord::integer - 1) = 1
            UNION ALL
            SELECT d.job_id
            FROM owner o
            CROSS JOIN unnest('{completed,failed,cancelled}'::text[]) AS s(state)
            CROSS JOIN LATERAL (
                SELECT x.job_id FROM taskflow.done x
                WHERE x.namespace = o.namespace AND x.state = s.state AND x.job_id >= $1 AND x.job_id < $2
                  AND x.finished_at >= $4
                LIMIT $3
            ) AS d
            WHERE o.namespace IS NOT NULL
        ) AS needed
        LIMIT $3
    $query$, 'job_' || to_char(day, 'YYYYMMDD'))
    USING taskflow.uuid_v7_floor(opens), taskflow.uuid_v7_floor(opens + interval '1 day'), most,
        opens - interval '1 hour';
END
$$;

-- Leave in one day's partition of job only the bodies that are needed, if those are few: a job that waits for a year
-- must not keep a whole day. Returns how many there are now; null if nothing was done, because most of the partition is
-- needed, or more than max_jobs or max_bytes of it.
-- Locks: the partition: SHARE while it looks and copies, which only a change of such an old job waits for; then ACCESS
-- EXCLUSIVE while it puts back what it copied, so that nobody sees the partition without it. The caller bounds the wait
-- for that by lock_timeout. New jobs are in another partition, and wait for neither.
CREATE FUNCTION taskflow.thin_out_jobs(day date, max_jobs integer, max_bytes bigint) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    part CONSTANT text := 'job_' || to_char(day, 'YYYYMMDD');
    needed uuid[];
    there bigint;
    bytes bigint;
BEGIN
    EXECUTE format('LOCK TABLE taskflow.%I IN SHARE MODE', part);
    needed := ARRAY(SELECT taskflow.needed_jobs(day, max_jobs + 1));
    IF cardinality(needed) > max_jobs THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT count(*) FROM (SELECT FROM taskflow.%I LIMIT $1) AS counted', part)
        INTO there USING cardinality(needed) * 2 + 1;
    IF there <= cardinality(needed) * 2 THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT sum(pg_column_size(j.*)) FROM taskflow.%I j WHERE j.id = ANY($1)', part)
        INTO bytes USING needed;
    IF bytes > max_bytes THEN
        RETURN NULL;
    END IF;
    EXECUTE format('CREATE TABLE taskflow.job_needed (LIKE taskflow.%I)', part);
    EXECUTE format('INSERT INTO taskflow.job_needed SELECT j.* FROM taskflow.%I j WHERE j.id = ANY($1)', part)
        USING needed;
    EXECUTE format('LOCK TABLE taskflow.%I IN ACCESS EXCLUSIVE MODE', part);
    EXECUTE format('TRUNCATE taskflow.%I', part);
    EXECUTE format('INSERT INTO taskflow.%I SELECT * FROM taskflow.job_needed', part);
    DROP TABLE taskflow.job_needed;
    RETURN cardinality(needed);
END
$$;
