-- Free the unique key that a job wants which runs again, if somebody held it for a time that is over (reclaim_key.sql).
-- Locks: its row; waits for whoever frees it too. Indexes: job's primary key; the primary key of unique_claim.
DELETE FROM taskflow.unique_claim
WHERE ctid = ANY(ARRAY(
    SELECT u.ctid
    FROM taskflow.job j
    CROSS JOIN LATERAL (
        SELECT x.ctid FROM taskflow.unique_claim x
        WHERE x.namespace = j.namespace AND x.kind = j.kind AND x.key = j.unique_key
          AND x.held_until <= coalesce(:now::timestamptz, statement_timestamp())
        LIMIT 1
    ) AS u
    WHERE j.id = :job_id AND j.unique_scope = 'until_finished'
));
