-- Store one chunk of a blob. Locks: the new row. Index: file_chunk's primary key.
INSERT INTO taskflow.file_chunk (file_id, number, content)
VALUES (:blob_id::uuid, :number::integer, :content::bytea);
