-- Schedules of a namespace, counted no further than :limit. Index: schedule_list.
SELECT count(*)::integer FROM (SELECT FROM taskflow.schedule WHERE namespace = :namespace LIMIT :limit) AS counted;
