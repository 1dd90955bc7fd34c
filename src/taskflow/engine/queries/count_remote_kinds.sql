-- How many schemas a namespace's workers have published, counted up to :limit. The table is small.
SELECT count(*)::integer FROM (SELECT FROM taskflow.kind k WHERE k.namespace = :namespace::uuid LIMIT :limit) AS counted;
