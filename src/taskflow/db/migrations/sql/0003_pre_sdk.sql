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

-- An instant that an option names.
CREATE FUNCTION taskflow.option_instant(options jsonb, name text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    instant timestamptz;
BEGIN
    IF NOT options ? name THEN
        RETURN NULL;
    END IF;
    BEGIN
        IF taskflow.option_text(options, name)
            ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$' THEN
            instant := (options ->> name)::timestamptz;
        END IF;
    EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
        instant := NULL;  -- the 30th of February
    END;
    IF instant IS NULL OR instant >= '9000-01-01 00:00:00Z' THEN
        RAISE EXCEPTION '% must be an ISO 8601 instant with a time zone before the year 9000, such as 2026-11-23T09:30:00Z, got %',
            name, left(options ->> name, 100) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN instant;
END
$$;
REVOKE ALL ON FUNCTION taskflow.option_instant(jsonb, text) FROM PUBLIC;

-- Claim a unique key for a job that is about to be stored; null if it has it now, else the job that holds it.
-- Locks: the new row; waits for whoever claims the same key in a transaction that has not ended. Index: the primary key.
CREATE FUNCTION taskflow.claim_unique_key(
    in_namespace uuid, of_kind text, wanted text, for_job uuid, for_scope text, for_ms bigint
) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    holder uuid;
BEGIN
    FOR step IN 1 .. 10 LOOP
        INSERT INTO taskflow.unique_claim (namespace, kind, key, job_id, scope, held_until)
        VALUES (in_namespace, of_kind, wanted, for_job, for_scope, clock_timestamp() + for_ms * interval '1 millisecond')
        ON CONFLICT (namespace, kind, key) DO NOTHING;
        IF FOUND THEN
            RETURN NULL;
        END IF;
        DELETE FROM taskflow.unique_claim u
        WHERE u.namespace = in_namespace AND u.kind = of_kind AND u.key = wanted AND u.held_until <= clock_timestamp();
        SELECT u.job_id INTO holder FROM taskflow.unique_claim u
        WHERE u.namespace = in_namespace AND u.kind = of_kind AND u.key = wanted;
        IF FOUND THEN
            RETURN holder;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'the unique key keeps changing hands; try again' USING ERRCODE = 'lock_not_available';
END
$$;
REVOKE ALL ON FUNCTION taskflow.claim_unique_key(uuid, text, text, uuid, text, bigint) FROM PUBLIC;

-- Submit a job in the caller's transaction, from any language: it exists if and only if that commits.
--
--   SELECT taskflow.enqueue('thumbnail', '{"width": 640}', '{"priority": "high", "delay": 60000}');
--
-- options are named as in POST /jobs. What they do not say is the kind's, if a worker has published it, else the
-- engine's. With a uniqueKey that another job holds nothing is stored, and that job's id is the answer. The payload is
-- checked when the job runs: SQL does not read the kind's schema. Sends no notification: those would make commits of the
-- whole server take turns; workers find the job by their poll, within a second.
-- SECURITY DEFINER: a role with EXECUTE on this needs no rights on the tables. Locks: none but the new rows.
CREATE FUNCTION taskflow.enqueue(kind text, payload jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known CONSTANT text[] := ARRAY[
        'callbackUrl', 'delay', 'expiresAt', 'headers', 'namespace', 'priority', 'queue', 'retries', 'runAt', 'tags',
        'timeout', 'ttl', 'uniqueKey', 'uniqueScope', 'uniqueWindow'
    ];
    made_at CONSTANT timestamptz := clock_timestamp();
    new_id CONSTANT uuid := taskflow.uuid_v7(made_at);
    given jsonb;
    defaults taskflow.kind;
    due_at timestamptz;
    expires_at timestamptz;
    job_namespace uuid := '00000000-0000-0000-0000-000000000000';
    job_queue text;
    job_priority bigint;
    job_tags text[] := '{}';
    job_headers jsonb;
    callback_url text;
    unique_key text;
    unique_scope text;
    unique_ms bigint;
    holder uuid;
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
    IF EXISTS (SELECT FROM taskflow.queue q WHERE q.name = job_queue AND q.draining_at IS NOT NULL) THEN
        RAISE EXCEPTION 'queue % drains: it takes no new jobs until it is resumed', quote_literal(job_queue)
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    job_priority := CASE given ->> 'priority'
        WHEN 'low' THEN 2 WHEN 'normal' THEN 5 WHEN 'high' THEN 8
        ELSE coalesce(
            taskflow.option_whole(given, 'priority', 0, 9, 'high, normal, low or '), defaults.priority::bigint, 5
        )
    END;
    IF given ? 'runAt' AND given ? 'delay' THEN
        RAISE EXCEPTION 'give runAt or delay, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    due_at := greatest(made_at, coalesce(
        taskflow.option_instant(given, 'runAt'),
        made_at + taskflow.option_whole(given, 'delay', 0, 31622400000) * interval '1 millisecond'
    ));
    IF given ? 'expiresAt' AND given ? 'ttl' THEN
        RAISE EXCEPTION 'give expiresAt or ttl, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    expires_at := coalesce(
        taskflow.option_instant(given, 'expiresAt'),
        made_at + taskflow.option_whole(given, 'ttl', 1, 31622400000) * interval '1 millisecond'
    );
    IF expires_at <= due_at AND due_at > made_at THEN
        RAISE EXCEPTION '% must be after the instant at which the job is due',
            CASE WHEN given ? 'ttl' THEN 'ttl' ELSE 'expiresAt' END USING ERRCODE = 'invalid_parameter_value';
    END IF;

    unique_key := taskflow.option_text(given, 'uniqueKey');
    unique_scope := coalesce(taskflow.option_text(given, 'uniqueScope'), 'until_finished');
    unique_ms := taskflow.option_whole(given, 'uniqueWindow', 1, 2678400000);
    IF unique_key IS NULL AND (given ? 'uniqueScope' OR given ? 'uniqueWindow') THEN
        RAISE EXCEPTION 'uniqueScope and uniqueWindow go with uniqueKey' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF length(unique_key) NOT BETWEEN 1 AND 200 OR unique_key ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'uniqueKey must be 1 to 200 printable characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF unique_scope NOT IN ('until_claimed', 'until_finished', 'window') THEN
        RAISE EXCEPTION 'uniqueScope must be until_claimed, until_finished or window, got %', left(unique_scope, 100)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (unique_scope = 'window') <> (unique_ms IS NOT NULL) THEN
        RAISE EXCEPTION 'uniqueWindow goes with the uniqueScope window, and is required with it'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

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

    IF unique_key IS NOT NULL THEN
        holder := taskflow.claim_unique_key(job_namespace, kind, unique_key, new_id, unique_scope, unique_ms);
        IF holder IS NOT NULL THEN
            RETURN holder;
        END IF;
    ELSE
        unique_scope := NULL;
    END IF;
    INSERT INTO taskflow.job
        (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, created_at,
         callback_url, unique_key, unique_scope, expires_at)
    VALUES (
        new_id, job_namespace, job_queue, enqueue.kind, enqueue.payload, job_priority,
        coalesce(taskflow.option_whole(given, 'retries', 0, 10), defaults.retries::bigint, 3),
        coalesce(taskflow.option_whole(given, 'timeout', 1, 86400000), defaults.timeout_ms::bigint, 30000),
        job_tags, job_headers, made_at, callback_url, unique_key, unique_scope, expires_at
    );
    IF due_at > made_at THEN
        INSERT INTO taskflow.deferred
            (job_id, namespace, queue, kind, priority, run_at, attempt, failures, state, holds_key, expires_at)
        VALUES
            (new_id, job_namespace, job_queue, enqueue.kind, job_priority, due_at, 0, 0, 'scheduled',
             unique_scope IS NOT DISTINCT FROM 'until_claimed', expires_at);
    ELSE
        INSERT INTO taskflow.ready
            (job_id, namespace, queue, kind, priority, run_at, attempt, failures, holds_key, expires_at)
        VALUES
            (new_id, job_namespace, job_queue, enqueue.kind, job_priority, made_at, 0, 0,
             unique_scope IS NOT DISTINCT FROM 'until_claimed', expires_at);
    END IF;
    RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION taskflow.enqueue(text, jsonb, jsonb) FROM PUBLIC;
