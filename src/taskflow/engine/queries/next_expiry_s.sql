-- Seconds until the next unclaimed job expires (negative: overdue), or NULL. Indexes: ready_expiry, deferred_expiry.
SELECT extract(epoch FROM least(
    (SELECT r.expires_at FROM taskflow.ready r WHERE r.expires_at IS NOT NULL ORDER BY r.expires_at LIMIT 1),
    (SELECT d.expires_at FROM taskflow.deferred d WHERE d.expires_at IS NOT NULL ORDER BY d.expires_at LIMIT 1)
) - coalesce(:now::timestamptz, statement_timestamp()))::double precision AS wait_s;
