-- Failed jobs of a namespace, counted no further than :limit. Index: done_job, of each day until the limit is reached.
SELECT count(*)::integer
FROM (
    SELECT FROM taskflow.done d WHERE d.namespace = :namespace AND d.state = 'failed' LIMIT :limit
) counted;
