-- Note that a leader looks now, and whether the clock has gone steadily since the last look: a day without one, or a
-- clock that went back, begins anew. Locks: the only row of retention.
INSERT INTO taskflow.retention AS r (kept_days, looked_at, steady_since)
VALUES (:kept_days::integer, coalesce(:now::timestamptz, now()), coalesce(:now::timestamptz, now()))
ON CONFLICT (is_only) DO UPDATE SET
    kept_days = excluded.kept_days,
    looked_at = excluded.looked_at,
    steady_since = CASE
        WHEN excluded.looked_at >= r.looked_at - interval '5 minutes'
            AND excluded.looked_at <= r.looked_at + :most_apart::interval THEN r.steady_since
        ELSE excluded.looked_at
    END
RETURNING
    (looked_at AT TIME ZONE 'UTC')::date AS today,
    extract(epoch FROM steady_since + :steady_for::interval - looked_at)::double precision AS waits_s;
