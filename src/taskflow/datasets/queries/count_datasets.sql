-- How many datasets a namespace has; a few, they have a limit. Locks: none. Index: dataset's primary key.
SELECT count(*)::integer FROM taskflow.dataset WHERE namespace = :namespace::uuid;
