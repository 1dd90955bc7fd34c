-- Take the turn to change a dataset, until the transaction ends; return its version, and when it was made: a dataset of
-- the same name that was made later is another one. Lock: its row. Index: dataset's primary key.
SELECT version, created_at FROM taskflow.dataset WHERE namespace = :namespace::uuid AND name = :name::text FOR UPDATE;
