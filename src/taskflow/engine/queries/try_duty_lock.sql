-- One duty at a time in the whole deployment, whoever believes to lead.
-- Locks: an advisory lock, until the transaction ends; never waits.
SELECT pg_try_advisory_xact_lock(723641, :duty::integer);
