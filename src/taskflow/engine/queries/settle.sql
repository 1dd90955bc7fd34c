-- Carry out what follows from jobs having ended, in the transaction that ended them.
-- Locks: see the function. Indexes: unique_claim_job, done_job, the primary key of job.
SELECT taskflow.settle(:job_ids::uuid[], :now::timestamptz);
