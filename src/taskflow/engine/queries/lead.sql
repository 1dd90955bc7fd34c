-- Become or stay the leader for :term_s seconds. A row comes back to the leader only; held_s is the age of its term.
-- A term that lapsed counts as a new one even for the same holder: what happened in between is not known.
-- Locks: the row of :name, so that of two candidates one waits and then sees who leads. Index: the primary key.
INSERT INTO taskflow.leader AS l (name, holder, term, elected_at, expires_at)
VALUES (
    :name, :holder, 1, coalesce(:now::timestamptz, now()),
    coalesce(:now::timestamptz, now()) + :term_s::double precision * interval '1 second'
)
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder,
    term = CASE WHEN l.holder = excluded.holder AND l.expires_at > excluded.elected_at THEN l.term ELSE l.term + 1 END,
    elected_at = CASE
        WHEN l.holder = excluded.holder AND l.expires_at > excluded.elected_at THEN l.elected_at
        ELSE excluded.elected_at
    END,
    expires_at = excluded.expires_at
WHERE l.holder = excluded.holder OR l.expires_at <= excluded.elected_at
RETURNING l.term, extract(epoch FROM coalesce(:now::timestamptz, now()) - l.elected_at)::double precision AS held_s;
