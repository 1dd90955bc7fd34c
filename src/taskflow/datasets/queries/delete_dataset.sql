-- Delete a dataset whose rows are gone. Lock: its row, which the caller holds. Index: dataset's primary key.
DELETE FROM taskflow.dataset WHERE namespace = :namespace::uuid AND name = :name::text;
