-- Write down what became of schedules whose rows the transaction has locked: when they are due next, and what was last.
-- Where nothing was fired, the last job stays. Locks: their rows, held already. Index: schedule's primary key.
UPDATE taskflow.schedule s SET
    next_at = g.next_at,
    last_fire_at = g.fire_at,
    last_outcome = g.outcome,
    last_job_id = coalesce(g.job_id, s.last_job_id),
    last_job_at = CASE WHEN g.job_id IS NULL THEN s.last_job_at ELSE g.fire_at END
FROM unnest(
    :schedule_ids::uuid[], :next_ats::timestamptz[], :fire_ats::timestamptz[], :outcomes::text[], :job_ids::uuid[]
) AS g(id, next_at, fire_at, outcome, job_id)
WHERE s.id = g.id;
