-- Workers over HTTP publish kinds one after the other, so that a name has one namespace.
-- Locks: an advisory lock, until the transaction ends; waits.
SELECT pg_advisory_xact_lock(723641, 100);
