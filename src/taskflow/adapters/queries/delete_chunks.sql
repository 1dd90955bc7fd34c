-- Delete all chunks of some blobs. Locks: those rows. Index: file_chunk's primary key.
DELETE FROM taskflow.file_chunk
WHERE file_id = ANY(:blob_ids::uuid[]);
