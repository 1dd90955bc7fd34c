-- Write instants into the ledger. One that is there already fails the transaction, and with it the jobs it submitted.
-- Locks: none but the new rows; a twin that has not committed is waited for.
INSERT INTO taskflow.schedule_tick
    (schedule_id, fire_at, namespace, outcome, manual, job_id, detail, missed_until, decided_at)
SELECT
    schedule_id, fire_at, namespace, outcome, manual, job_id, detail, missed_until,
    coalesce(:now::timestamptz, statement_timestamp())
FROM unnest(
    :schedule_ids::uuid[], :fire_ats::timestamptz[], :namespaces::uuid[], :outcomes::text[], :manuals::boolean[],
    :job_ids::uuid[], :details::text[], :missed_untils::timestamptz[]
) AS g(schedule_id, fire_at, namespace, outcome, manual, job_id, detail, missed_until);
