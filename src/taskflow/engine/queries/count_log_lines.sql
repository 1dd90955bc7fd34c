-- How many lines attempts have written so far, counted up to :limit each. Index: job_log_job.
SELECT g.job_id, g.attempt,
    (
        SELECT count(*)::integer
        FROM (SELECT FROM taskflow.job_log x WHERE x.job_id = g.job_id AND x.attempt = g.attempt LIMIT :limit) AS kept
    ) AS lines
FROM unnest(:job_ids::uuid[], :attempts::integer[]) AS g(job_id, attempt);
