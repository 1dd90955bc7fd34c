-- Jobs of one day whose bodies are needed, up to :limit of them. Locks: none. The function is in the migration 0013.
SELECT taskflow.needed_jobs(:day::date, :limit::integer) AS job_id;
