-- Say something about a queue; what is NULL stays as it is. Locks: its row; waits for a claim that counts its jobs.
-- Index: the primary key.
INSERT INTO taskflow.queue AS q (name, paused_at, draining_at, concurrency, limited_at, changed_at)
SELECT
    :name, CASE WHEN :paused::boolean THEN at END, CASE WHEN :draining::boolean THEN at END, :concurrency::integer,
    CASE WHEN :concurrency::integer IS NOT NULL THEN at END, at
FROM (SELECT coalesce(:now::timestamptz, statement_timestamp()) AS at) AS clock
ON CONFLICT (name) DO UPDATE SET
    paused_at = CASE WHEN :paused::boolean IS NULL THEN q.paused_at
                     WHEN :paused::boolean THEN coalesce(q.paused_at, excluded.changed_at) END,
    draining_at = CASE WHEN :draining::boolean IS NULL THEN q.draining_at
                       WHEN :draining::boolean THEN coalesce(q.draining_at, excluded.changed_at) END,
    concurrency = CASE WHEN :limits::boolean THEN excluded.concurrency ELSE q.concurrency END,
    limited_at = CASE WHEN NOT :limits::boolean THEN q.limited_at
                      WHEN excluded.concurrency IS NOT NULL THEN coalesce(q.limited_at, excluded.changed_at) END,
    changed_at = excluded.changed_at;
