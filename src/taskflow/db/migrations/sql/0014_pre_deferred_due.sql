-- When deferred jobs are due. Without the job's id: an index that has it can stand in for the primary key when the
-- planner looks while the table is as good as empty, and a lookup by id then reads all of it once the table has grown.
DROP INDEX taskflow.deferred_due;
CREATE INDEX deferred_due ON taskflow.deferred (run_at);
