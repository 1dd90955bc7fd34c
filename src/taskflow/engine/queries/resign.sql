-- Stop leading at once, so that the next leader need not wait for the term to lapse.
-- Locks: the row of :name. Index: the primary key.
UPDATE taskflow.leader SET expires_at = coalesce(:now::timestamptz, now()) WHERE name = :name AND holder = :holder;
