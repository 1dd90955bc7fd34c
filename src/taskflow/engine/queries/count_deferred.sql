-- Jobs that wait for their time, per queue and state, counted no further than :limit rows in all: so many are scanned.
WITH counted AS (
    SELECT d.queue, d.state FROM taskflow.deferred d LIMIT :limit
)
SELECT c.queue, c.state, count(*)::integer AS jobs
FROM counted c
GROUP BY c.queue, c.state;
