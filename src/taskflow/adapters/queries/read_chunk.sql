-- One chunk of a blob. Locks: none. Index: file_chunk's primary key.
SELECT content
FROM taskflow.file_chunk
WHERE file_id = :blob_id::uuid AND number = :number::integer;
