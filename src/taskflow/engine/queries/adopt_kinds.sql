-- Note whose workers have published schemas of kinds; in the transaction that published them. Locks: their rows.
-- Index: kind's primary key.
UPDATE taskflow.kind k SET namespace = :namespace::uuid
FROM unnest(:names::text[], :schema_hashes::text[]) AS g(name, schema_hash)
WHERE k.name = g.name AND k.schema_hash = g.schema_hash AND k.namespace IS DISTINCT FROM :namespace::uuid;
