-- The ids between which the partition of job of one day (UTC) lies. Locks: none.
SELECT
    taskflow.uuid_v7_floor(:day::date::timestamp AT TIME ZONE 'UTC') AS opens,
    taskflow.uuid_v7_floor((:day::date + 1)::timestamp AT TIME ZONE 'UTC') AS closes;
