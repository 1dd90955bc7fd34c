-- The day before which jobs that ended have been dropped; NULL if none ever were. Locks: none. The table has one row.
SELECT r.kept_from FROM taskflow.retention r;
