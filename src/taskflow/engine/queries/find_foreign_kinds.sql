-- Of :names, those that somebody else than this namespace has published. Index: kind's primary key.
SELECT g.name
FROM unnest(:names::text[]) AS g(name)
WHERE EXISTS (SELECT FROM taskflow.kind k WHERE k.name = g.name AND k.namespace IS DISTINCT FROM :namespace::uuid)
ORDER BY g.name;
