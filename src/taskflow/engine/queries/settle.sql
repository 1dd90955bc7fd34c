-- Carry out what follows from jobs having ended, in the transaction that ended them.
-- Locks: see the function. Indexes: the primary keys of job and webhook_delivery, done_job, unique_claim_job.
SELECT taskflow.settle(:job_ids::uuid[], :now::timestamptz);
