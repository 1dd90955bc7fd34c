-- Submit jobs in a transaction that is not the engine's, whatever its driver and its role's rights, by the function that
-- the migration 0003 makes. One text in and ids out, in order: every driver can send that. CAST and no double colon,
-- which SQLAlchemy would read as a parameter. Locks: none but the new rows, and those of unique keys.
-- duplicate: the job held the unique key already (NULL on a schema before the migration 0016; without a key it says
-- nothing). OFFSET 0 keeps the look at that setting behind its own row's submit.
SELECT submitted.id, CAST(submitted.id AS text) = current_setting('taskflow.key_holder', true) AS duplicate
FROM (
    SELECT taskflow.enqueue(g.kind, g.payload, g.options) AS id, g.ord
    FROM ROWS FROM (
        jsonb_to_recordset(CAST(CAST(:jobs AS text) AS jsonb)) AS (kind text, payload jsonb, options jsonb)
    ) WITH ORDINALITY AS g(kind, payload, options, ord)
    ORDER BY g.ord
    OFFSET 0
) AS submitted
ORDER BY submitted.ord;
