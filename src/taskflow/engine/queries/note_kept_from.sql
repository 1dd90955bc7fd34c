-- Note that jobs that ended before the day :kept_from are dropped from now on; that never goes back.
-- Locks: the only row of retention.
UPDATE taskflow.retention SET kept_from = :kept_from::date
WHERE kept_from IS NULL OR kept_from < :kept_from::date;
