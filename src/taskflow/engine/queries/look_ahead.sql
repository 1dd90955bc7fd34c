-- What the leader's duties have before them: seconds until the next deferred job is due, the next schedule fires and the
-- next unclaimed job expires (negative: overdue; NULL: there is none), and whether a worker over HTTP has held a lease
-- for longer than :grace_s. Locks: none. Indexes: deferred_due, schedule_due, ready_expiry, deferred_expiry and the
-- primary key of worker; the table lease is as small as the work in flight.
SELECT
    extract(epoch FROM (
        SELECT d.run_at FROM taskflow.deferred d ORDER BY d.run_at LIMIT 1
    ) - t.now)::double precision AS due_s,
    extract(epoch FROM (
        SELECT s.next_at FROM taskflow.schedule s WHERE s.next_at IS NOT NULL ORDER BY s.next_at, s.id LIMIT 1
    ) - t.now)::double precision AS schedule_s,
    extract(epoch FROM least(
        (SELECT r.expires_at FROM taskflow.ready r WHERE r.expires_at IS NOT NULL ORDER BY r.expires_at LIMIT 1),
        (SELECT d.expires_at FROM taskflow.deferred d WHERE d.expires_at IS NOT NULL ORDER BY d.expires_at LIMIT 1)
    ) - t.now)::double precision AS expiry_s,
    EXISTS (
        SELECT FROM taskflow.lease l
        WHERE l.claimed_at < t.now - :grace_s::double precision * interval '1 second'
          AND EXISTS (SELECT FROM taskflow.worker w WHERE w.id = l.worker_id AND w.namespace IS NOT NULL)
    ) AS has_old_remote_lease
FROM (SELECT coalesce(:now::timestamptz, statement_timestamp()) AS now) AS t;
