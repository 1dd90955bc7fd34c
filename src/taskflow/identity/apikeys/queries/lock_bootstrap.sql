-- One first start at a time, until the transaction ends. Lock: an advisory one.
SELECT pg_advisory_xact_lock(7236410002);
