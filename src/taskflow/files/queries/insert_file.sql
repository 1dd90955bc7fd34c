-- Make a file, unless its job made one of the same content before: then no row. Locks: the new row; a twin of the same
-- job waits for its end. Indexes: file's primary key, file_made.
INSERT INTO taskflow.file (id, namespace, name, size, type, sha256, job_id, created_at, expires_at)
SELECT taskflow.uuid_v7(clock.now), :namespace::uuid, :name::text, :size::bigint, :type::text, :sha256::bytea,
    :job_id::uuid, clock.now, coalesce(:expires_at::timestamptz, clock.now + :retention::interval)
FROM (SELECT coalesce(:now::timestamptz, clock_timestamp()) AS now) AS clock
ON CONFLICT (job_id, sha256) WHERE job_id IS NOT NULL DO NOTHING
RETURNING id, namespace, name, size, type, sha256, job_id, created_at, expires_at;
