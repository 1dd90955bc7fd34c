-- For tests alone: let the database write down what happens to jobs and leases, in the transactions in which it happens.
--
-- Production has no triggers on these tables (0001_pre_engine.sql says why). Here they are the witness: an event is
-- there if and only if its change was committed, and its number comes from one sequence, which is drawn after whatever
-- the change had to wait for.

CREATE SCHEMA history;

CREATE TABLE history.event (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tx bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL CHECK (what IN ('stored', 'claimed', 'released', 'finished', 'reopened')),
    about jsonb NOT NULL
);

-- What handlers write through ctx.transaction().
CREATE TABLE history.effect (job_id uuid NOT NULL, attempt integer NOT NULL, lease_id uuid NOT NULL);

CREATE FUNCTION history.note_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO history.event (what, about) VALUES ('stored', jsonb_build_object(
        'job_id', NEW.id, 'kind', NEW.kind, 'queue', NEW.queue, 'op', NEW.payload ->> 'op',
        'unique_key', NEW.unique_key, 'unique_scope', NEW.unique_scope, 'has_callback', NEW.callback_url IS NOT NULL,
        'schedule_id', NEW.headers ->> 'schedule_id', 'fire_at', NEW.headers ->> 'schedule_fire_at'
    ));
    RETURN NULL;
END
$$;

-- The jobs of a lease whose bit was set before and is not any more, or is set now and was not before.
CREATE FUNCTION history.note_lease() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lease taskflow.lease := coalesce(NEW, OLD);
    was bit varying := CASE WHEN TG_OP <> 'INSERT' THEN OLD.open ELSE lease.open # lease.open END;
    is_now bit varying := CASE WHEN TG_OP <> 'DELETE' THEN NEW.open ELSE lease.open # lease.open END;
BEGIN
    INSERT INTO history.event (what, about)
    SELECT
        CASE WHEN get_bit(is_now, u.ord::integer - 1) = 1 THEN 'claimed' ELSE 'released' END,
        jsonb_build_object('job_id', u.job_id, 'attempt', u.attempt, 'lease_id', lease.id)
    FROM unnest(lease.job_ids, lease.attempts) WITH ORDINALITY AS u(job_id, attempt, ord)
    WHERE get_bit(was, u.ord::integer - 1) <> get_bit(is_now, u.ord::integer - 1)
    ORDER BY u.ord;
    RETURN NULL;
END
$$;

CREATE FUNCTION history.note_done() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO history.event (what, about) VALUES ('finished', jsonb_build_object(
            'job_id', NEW.job_id, 'attempt', NEW.attempt, 'state', NEW.state,
            'lease_id', CASE WHEN jsonb_typeof(NEW.result) = 'object' THEN NEW.result ->> 'lease' END
        ));
    ELSE
        INSERT INTO history.event (what, about) VALUES ('reopened', jsonb_build_object('job_id', OLD.job_id));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER history AFTER INSERT ON taskflow.job FOR EACH ROW EXECUTE FUNCTION history.note_job();
CREATE TRIGGER history AFTER INSERT OR UPDATE OR DELETE ON taskflow.lease
    FOR EACH ROW EXECUTE FUNCTION history.note_lease();
CREATE TRIGGER history AFTER INSERT OR DELETE ON taskflow.done FOR EACH ROW EXECUTE FUNCTION history.note_done();
