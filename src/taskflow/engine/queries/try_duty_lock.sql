-- One duty at a time in the whole deployment, whoever believes to lead. Held until the transaction ends.
SELECT pg_try_advisory_xact_lock(723641, :duty::integer);
