-- How many queues have settings, counted no further than :limit. Locks: none. Index: the primary key.
SELECT count(*)::integer FROM (SELECT FROM taskflow.queue q WHERE q.name <> :name LIMIT :limit) AS counted;
