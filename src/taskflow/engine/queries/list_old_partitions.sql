-- Daily partitions of days before :before, and those that were chosen to be dropped and have only been detached, with
-- what holds ends first and bodies last. Locks: none.
SELECT p.parent AS "table", named.day, i.inhrelid IS NOT NULL AS is_attached, coalesce(i.inhdetachpending, false) AS is_leaving
FROM unnest('{done,attempt_log,job_log,job}'::text[]) WITH ORDINALITY AS p(parent, place)
JOIN pg_class c ON c.relname ~ format('^%s_[0-9]{8}$', p.parent)
CROSS JOIN LATERAL (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day OFFSET 0) AS named
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
LEFT JOIN taskflow.partition_drop d ON d.name = c.relname
WHERE c.relnamespace = 'taskflow'::regnamespace AND c.relkind = 'r' AND named.day < :before::date
  AND (i.inhrelid IS NOT NULL OR d.name IS NOT NULL)
ORDER BY p.place, named.day;
