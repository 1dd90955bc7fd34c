-- Remove dead rows of counts that were folded. Locks: SHARE UPDATE EXCLUSIVE, or nothing at all if that is taken.
-- No truncation: giving the last pages back would need ACCESS EXCLUSIVE, and they fill again within the second.
VACUUM (TRUNCATE false, INDEX_CLEANUP on, SKIP_LOCKED) taskflow.stat_delta;
