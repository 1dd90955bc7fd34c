-- Make an empty dataset unless there is one. Lock: the new row. Index: dataset's primary key.
INSERT INTO taskflow.dataset (namespace, name, version, row_count, created_at)
VALUES (:namespace::uuid, :name::text, 0, 0, statement_timestamp())
ON CONFLICT (namespace, name) DO NOTHING;
