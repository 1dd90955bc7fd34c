-- Ask the holder of an active job to stop it; asking twice keeps the first instant. Locks: the lease row.
UPDATE taskflow.lease l
SET cancels = jsonb_build_object(
        (array_position(l.job_ids, :job_id::uuid) - 1)::text, coalesce(:now::timestamptz, statement_timestamp())
    ) || coalesce(l.cancels, '{}')
WHERE l.job_ids @> ARRAY[:job_id::uuid]
  AND get_bit(l.open, array_position(l.job_ids, :job_id::uuid) - 1) = 1
RETURNING (l.cancels ->> (array_position(l.job_ids, :job_id::uuid) - 1)::text)::timestamptz AS requested_at;
