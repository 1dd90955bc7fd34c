-- Take the turn to change a dataset, until the transaction ends; return its version. Lock: its row.
-- Index: dataset's primary key.
SELECT version FROM taskflow.dataset WHERE namespace = :namespace::uuid AND name = :name::text FOR UPDATE;
