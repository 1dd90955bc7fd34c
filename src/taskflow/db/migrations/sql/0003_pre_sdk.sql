-- What applications need beside the engine's own statements: progress of their jobs, and two functions for transactions
-- of their own, callable from any language and driver.

-- The last report of each job that ever made one. fillfactor: a report is a HOT update.
CREATE TABLE taskflow.job_progress (
    job_id uuid PRIMARY KEY,
    attempt integer NOT NULL,
    fraction real NOT NULL CHECK (fraction BETWEEN 0 AND 1),
    message text NOT NULL,
    at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- End one attempt as completed, in the caller's transaction: what else it does happens if and only if the job completes.
-- False: the claim was taken back; the caller must roll back. Locks: the lease row, so that it is the last to be called
-- before the commit. wait_s is how long the job had been due when it was claimed, for the statistics.
-- The same rules as queries/complete.sql, for one job; and what follows from its end is settled at once.
CREATE FUNCTION taskflow.complete_one(
    lease_id uuid, "position" integer, result jsonb, wait_s double precision DEFAULT 0
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
        held.failures[complete_one."position" + 1], complete_one.result, held.claimed_at, ended_at
    );
    INSERT INTO taskflow.stat_delta (namespace, hour, queue, kind, state, measure, bucket, jobs)
    VALUES
        (body.namespace, date_trunc('hour', ended_at, 'UTC'), body.queue, body.kind, 'completed', 'run',
         taskflow.stat_bucket(extract(epoch FROM ended_at - held.claimed_at)::double precision), 1),
        (body.namespace, date_trunc('hour', ended_at, 'UTC'), body.queue, body.kind, 'completed', 'wait',
         taskflow.stat_bucket(complete_one.wait_s), 1);
    PERFORM taskflow.settle(ARRAY[body.id]);
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION taskflow.complete_one(uuid, integer, jsonb, double precision) FROM PUBLIC;

-- What an option says, checked: null if it is not given.
CREATE FUNCTION taskflow.option_text(options jsonb, name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF options ? name AND jsonb_typeof(options -> name) <> 'string' THEN
        RAISE EXCEPTION '% must be a text, got %', name, left((options -> name)::text, 100)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN options ->> name;
END
$$;
REVOKE ALL ON FUNCTION taskflow.option_text(jsonb, text) FROM PUBLIC;

CREATE FUNCTION taskflow.option_whole(options jsonb, name text, lowest bigint, highest bigint, other text DEFAULT '')
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given CONSTANT numeric := CASE jsonb_typeof(options -> name) WHEN 'number' THEN (options ->> name)::numeric END;
BEGIN
    IF options ? name AND (given IS NULL OR given <> trunc(given) OR given NOT BETWEEN lowest AND highest) THEN
        RAISE EXCEPTION '% must be %a whole number from % to %, got %',
            name, other, lowest, highest, left((options -> name)::text, 100) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN given;
END
$$;
REVOKE ALL ON FUNCTION taskflow.option_whole(jsonb, text, bigint, bigint, text) FROM PUBLIC;

CREATE FUNCTION taskflow.check_name(name text, what text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL OR name !~ '^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}$' THEN
        RAISE EXCEPTION '% must be 1 to 100 characters of A-Z a-z 0-9 _ . : / - and begin with a letter or digit, got %',
            what, coalesce(quote_literal(left(name, 100)), 'null') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN name;
END
$$;
REVOKE ALL ON FUNCTION taskflow.check_name(text, text) FROM PUBLIC;

-- When a job is due, from its options runAt and delay.
CREATE FUNCTION taskflow.option_due_at(options jsonb, made_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    delay_ms CONSTANT bigint := taskflow.option_whole(options, 'delay', 0, 31622400000);
    run_at timestamptz;
BEGIN
    IF options ? 'runAt' AND options ? 'delay' THEN
        RAISE EXCEPTION 'give runAt or delay, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT options ? 'runAt' THEN
        RETURN made_at + coalesce(delay_ms, 0) * interval '1 millisecond';
    END IF;
    BEGIN
        IF taskflow.option_text(options, 'runAt')
            ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$' THEN
            run_at := (options ->> 'runAt')::timestamptz;
        END IF;
    EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
        run_at := NULL;  -- the 30th of February
    END;
    IF run_at IS NULL OR run_at >= '9000-01-01 00:00:00Z' THEN
        RAISE EXCEPTION 'runAt must be an ISO 8601 instant with a time zone before the year 9000, such as 2026-11-23T09:30:00Z, got %',
            left(options ->> 'runAt', 100) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN greatest(made_at, run_at);
END
$$;
REVOKE ALL ON FUNCTION taskflow.option_due_at(jsonb, timestamptz) FROM PUBLIC;

-- Submit a job in the caller's transaction, from any language: it exists if and only if that commits.
--
--   SELECT taskflow.enqueue('thumbnail', '{"width": 640}', '{"priority": "high", "delay": 60000}');
--
-- options are named as in POST /jobs. What they do not say is the kind's, if a worker has published it, else the
-- engine's. The payload is checked when the job runs: SQL does not read the kind's schema. Sends no notification: those
-- would make commits of the whole server take turns; workers find the job by their poll, within a second.
-- SECURITY DEFINER: a role with EXECUTE on this needs no rights on the tables. Locks: none but the new rows.
CREATE FUNCTION taskflow.enqueue(kind text, payload jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known CONSTANT text[] := ARRAY[
        'callbackUrl', 'delay', 'headers', 'namespace', 'priority', 'queue', 'retries', 'runAt', 'tags', 'timeout'
    ];
    made_at CONSTANT timestamptz := clock_timestamp();
    new_id CONSTANT uuid := taskflow.uuid_v7(made_at);
    given jsonb;
    defaults taskflow.kind;
    due_at timestamptz;
    job_namespace uuid := '00000000-0000-0000-0000-000000000000';
    job_queue text;
    job_priority bigint;
    job_tags text[] := '{}';
    job_headers jsonb;
    callback_url text;
    stranger text;
BEGIN
    PERFORM taskflow.check_name(kind, 'kind');
    IF payload IS NULL OR jsonb_typeof(payload) <> 'object' THEN
        RAISE EXCEPTION 'payload must be a JSON object, got %', coalesce(jsonb_typeof(payload), 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(payload::text) > 262144 THEN
        RAISE EXCEPTION 'payload is % bytes of JSON, the limit is 262144', octet_length(payload::text)
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    given := jsonb_strip_nulls(coalesce(options, '{}'));
    IF jsonb_typeof(given) <> 'object' THEN
        RAISE EXCEPTION 'options must be a JSON object, got %', jsonb_typeof(given)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT o.key INTO stranger FROM jsonb_object_keys(given) AS o(key) WHERE o.key <> ALL (known) ORDER BY o.key LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'there is no option %; known are %', quote_literal(left(stranger, 100)), array_to_string(known, ', ')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    SELECT k.* INTO defaults FROM taskflow.kind k
    WHERE k.name = enqueue.kind ORDER BY k.published_at DESC, k.schema_hash LIMIT 1;

    job_queue := taskflow.check_name(coalesce(taskflow.option_text(given, 'queue'), defaults.queue, 'default'), 'queue');
    job_priority := CASE given ->> 'priority'
        WHEN 'low' THEN 2 WHEN 'normal' THEN 5 WHEN 'high' THEN 8
        ELSE coalesce(
            taskflow.option_whole(given, 'priority', 0, 9, 'high, normal, low or '), defaults.priority::bigint, 5
        )
    END;
    due_at := taskflow.option_due_at(given, made_at);

    IF given ? 'tags' THEN
        IF jsonb_typeof(given -> 'tags') <> 'array' OR jsonb_array_length(given -> 'tags') > 20 OR EXISTS (
            SELECT FROM jsonb_array_elements(given -> 'tags') AS tag(value)
            WHERE jsonb_typeof(tag.value) <> 'string' OR length(tag.value #>> '{}') NOT BETWEEN 1 AND 100
               OR tag.value #>> '{}' ~ '[[:cntrl:]]'
        ) THEN
            RAISE EXCEPTION 'tags must be an array of at most 20 texts of 1 to 100 printable characters'
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        job_tags := ARRAY(SELECT jsonb_array_elements_text(given -> 'tags'));
    END IF;
    job_headers := coalesce(given -> 'headers', '{}');
    IF jsonb_typeof(job_headers) <> 'object' OR octet_length(job_headers::text) > 8192
        OR EXISTS (SELECT FROM jsonb_each(job_headers) AS header WHERE jsonb_typeof(header.value) <> 'string') THEN
        RAISE EXCEPTION 'headers must be an object of texts, at most 8192 bytes of JSON'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    callback_url := taskflow.option_text(given, 'callbackUrl');
    IF callback_url !~ '^https?://[^[:space:]/]' OR length(callback_url) > 2048 THEN
        RAISE EXCEPTION 'callbackUrl must start with http:// or https:// and have at most 2048 characters, got %',
            left(callback_url, 100) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF given ? 'namespace' THEN
        IF taskflow.option_text(given, 'namespace') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
            RAISE EXCEPTION 'namespace must be a UUID, got %', left(given ->> 'namespace', 100)
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        job_namespace := (given ->> 'namespace')::uuid;
    END IF;

    INSERT INTO taskflow.job
        (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, callback_url, created_at)
    VALUES (
        new_id, job_namespace, job_queue, enqueue.kind, enqueue.payload, job_priority,
        coalesce(taskflow.option_whole(given, 'retries', 0, 10), defaults.retries::bigint, 3),
        coalesce(taskflow.option_whole(given, 'timeout', 1, 86400000), defaults.timeout_ms::bigint, 30000),
        job_tags, job_headers, callback_url, made_at
    );
    IF due_at > made_at THEN
        INSERT INTO taskflow.deferred (job_id, namespace, queue, kind, priority, run_at, attempt, failures, state)
        VALUES (new_id, job_namespace, job_queue, enqueue.kind, job_priority, due_at, 0, 0, 'scheduled');
    ELSE
        INSERT INTO taskflow.ready (job_id, namespace, queue, kind, priority, run_at, attempt, failures)
        VALUES (new_id, job_namespace, job_queue, enqueue.kind, job_priority, made_at, 0, 0);
    END IF;
    RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION taskflow.enqueue(text, jsonb, jsonb) FROM PUBLIC;
