-- Whether a submit in a transaction of its own stored its job, which the id that enqueue answers with does not say. Its
-- signature is everybody's, and so are the rights on it; so this is said beside it: taskflow.key_holder, a setting of the
-- transaction, is the job that held the last unique key that was asked for, or '' if nobody held it.
-- Only queries/enqueue_elsewhere.sql reads it, in the statement that asked.

-- Claim a unique key for a job that is about to be stored; null if it has it now, else the job that holds it.
-- Locks: the new row; waits for whoever claims the same key in a transaction that has not ended. Index: the primary key.
CREATE OR REPLACE FUNCTION taskflow.claim_unique_key(
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
            PERFORM set_config('taskflow.key_holder', '', true);
            RETURN NULL;
        END IF;
        DELETE FROM taskflow.unique_claim u
        WHERE u.namespace = in_namespace AND u.kind = of_kind AND u.key = wanted AND u.held_until <= clock_timestamp();
        SELECT u.job_id INTO holder FROM taskflow.unique_claim u
        WHERE u.namespace = in_namespace AND u.kind = of_kind AND u.key = wanted;
        IF FOUND THEN
            PERFORM set_config('taskflow.key_holder', holder::text, true);
            RETURN holder;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'the unique key keeps changing hands; try again' USING ERRCODE = 'lock_not_available';
END
$$;
