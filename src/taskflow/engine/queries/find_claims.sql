-- Claims that still stand, by lease and position, as claim.sql gave them but for what only a handler needs.
-- How long a job had been due when it was claimed is not kept: its claim had it, and its token has.
-- Locks: none; whoever ends one of them is fenced as ever. Indexes: the primary keys of lease and job.
SELECT
    l.id AS lease_id, length(l.open) AS lease_size, g.position, j.id AS job_id,
    l.attempts[g.position + 1] AS attempt, l.failures[g.position + 1] AS failures,
    coalesce((l.marks -> g.position::text ->> 0)::smallint, 0) AS crashes,
    coalesce((l.marks -> g.position::text ->> 1)::boolean, false) AS suspect,
    j.namespace, j.kind, j.queue, j.priority, j.retries, j.timeout_ms,
    j.callback_url IS NOT NULL OR j.kind = 'deliver_webhook' OR j.unique_scope IS NOT DISTINCT FROM 'until_finished'
        AS settles,
    l.queue IS NOT NULL AS limited,
    extract(epoch FROM coalesce(:now::timestamptz, statement_timestamp()) - l.claimed_at)::double precision AS age_s
FROM unnest(:lease_ids::uuid[], :positions::integer[]) WITH ORDINALITY AS g(lease_id, position, ord)
JOIN taskflow.lease l ON l.id = g.lease_id AND get_bit(l.open, g.position) = 1
CROSS JOIN LATERAL (SELECT * FROM taskflow.job x WHERE x.id = l.job_ids[g.position + 1] LIMIT 1) AS j
ORDER BY g.ord;
