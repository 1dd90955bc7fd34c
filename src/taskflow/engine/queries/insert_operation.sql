-- Note down an operation on many jobs, which the job :job_id of this transaction carries out. Locks: the new row.
INSERT INTO taskflow.operation
    (id, namespace, action, filter, state, done, failed, job_id, created_at, changed_at)
VALUES (
    :operation_id, :namespace, :action, :filter::text::jsonb,
    'pending', 0, 0, :job_id, coalesce(:now::timestamptz, statement_timestamp()),
    coalesce(:now::timestamptz, statement_timestamp())
)
RETURNING id, namespace, action, filter, state, below, done, failed, job_id, created_at, finished_at;
