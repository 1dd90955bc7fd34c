-- Forget a queue of which nothing is said any more: a name that was a mistake leaves the list, and takes no room in it.
-- A claim that waits for the row then finds that nothing holds it back. Locks: its row. Index: the primary key.
DELETE FROM taskflow.queue q
WHERE q.name = :name AND q.paused_at IS NULL AND q.draining_at IS NULL AND q.concurrency IS NULL;
