-- Delete a dataset's rows, 100,000 at most. The dataset's row is held by the caller, by a statement of its own: what a
-- sync wrote while this one waited for it would otherwise not be seen, and stay. Locks: the rows.
-- Index: dataset_row's primary key.
DELETE FROM taskflow.dataset_row WHERE namespace = :namespace::uuid AND dataset = :dataset::text;
