-- Claim the unique key of a job that runs again. A row comes back if somebody else holds it: the job that does.
-- Only until_finished is claimed again: the other scopes end with the first claim, or by time.
-- Locks: the new row; waits for whoever claims the same key in a transaction that has not ended.
-- Indexes: job's primary key; the primary key of unique_claim.
WITH body AS MATERIALIZED (
    SELECT j.id, j.namespace, j.kind, j.unique_key FROM taskflow.job j
    WHERE j.id = :job_id AND j.unique_scope = 'until_finished'
), won AS (
    INSERT INTO taskflow.unique_claim (namespace, kind, key, job_id, scope)
    SELECT namespace, kind, unique_key, id, 'until_finished' FROM body
    ON CONFLICT (namespace, kind, key) DO NOTHING
    RETURNING job_id
)
SELECT EXISTS (SELECT FROM body) AND NOT EXISTS (SELECT FROM won) AS is_held;
