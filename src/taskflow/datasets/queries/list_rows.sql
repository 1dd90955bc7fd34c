-- Rows of a dataset above :after, by key. Locks: none. Index: dataset_row's primary key.
SELECT key, row, changed_at
FROM taskflow.dataset_row
WHERE namespace = :namespace::uuid AND dataset = :dataset::text AND key > :after::text
ORDER BY namespace, dataset, key
LIMIT :limit::integer;
