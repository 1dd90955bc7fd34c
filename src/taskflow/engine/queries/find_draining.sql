-- Which of these queues drain. Locks: none. Index: queue_draining.
SELECT q.name FROM taskflow.queue q WHERE q.draining_at IS NOT NULL AND q.name = ANY(:queues::text[]);
