-- Lines of several jobs after a position in each, at most :limit of one job. Index: job_log_job, once per job.
SELECT f.ord::integer - 1 AS position, l.seq, l.attempt, l.at, l.level, l.message
FROM unnest(:job_ids::uuid[], :created_ats::timestamptz[], :after_seqs::bigint[])
    WITH ORDINALITY AS f(job_id, created_at, after_seq, ord)
CROSS JOIN LATERAL (
    SELECT x.seq, x.attempt, x.at, x.level, x.message
    FROM taskflow.job_log x
    WHERE x.job_id = f.job_id AND x.at >= f.created_at - interval '1 hour' AND x.seq > f.after_seq
    ORDER BY x.seq
    LIMIT :limit
) AS l
ORDER BY f.ord, l.seq;
