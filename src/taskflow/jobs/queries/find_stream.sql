-- How far a stream of submits has come. Index: submit_stream's primary key.
SELECT last_line, accepted, rejected
FROM taskflow.submit_stream
WHERE principal_id = :principal_id AND key = :key;
