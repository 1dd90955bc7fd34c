-- The ledger of one schedule, newest first, before :before. Index: schedule_tick's primary key.
SELECT schedule_id, fire_at, outcome, manual, job_id, detail, missed_until, decided_at
FROM taskflow.schedule_tick
WHERE schedule_id = :schedule_id AND fire_at < :before
ORDER BY schedule_id DESC, fire_at DESC
LIMIT :limit;
