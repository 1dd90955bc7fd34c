-- End one attempt as completed, in a transaction that is not the engine's. False: the claim was taken back (LeaseLost).
-- Locks: the lease row, until the caller's commit. The function is in the migration 0015; index: lease's primary key.
SELECT taskflow.complete_one(
    CAST(:lease_id AS uuid), CAST(:position AS integer), CAST(CAST(:result AS text) AS jsonb),
    CAST(:wait_s AS double precision), CAST(:run_s AS double precision)
) AS won;
