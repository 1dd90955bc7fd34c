-- Choose a partition to be dropped, before it is detached. Locks: the new row.
INSERT INTO taskflow.partition_drop (name, begun_at) VALUES (:name::text, coalesce(:now::timestamptz, now()))
ON CONFLICT (name) DO NOTHING;
