-- Of some instants of schedules, those that the ledger has. Index: schedule_tick's primary key.
SELECT t.schedule_id, t.fire_at
FROM unnest(:schedule_ids::uuid[], :fire_ats::timestamptz[]) AS g(schedule_id, fire_at)
CROSS JOIN LATERAL (
    SELECT x.schedule_id, x.fire_at FROM taskflow.schedule_tick x
    WHERE x.schedule_id = g.schedule_id AND x.fire_at = g.fire_at LIMIT 1
) AS t;
