-- What was wrong with a stream's refused lines from :from_line on. Index: submit_stream_error's primary key.
SELECT line, errors
FROM taskflow.submit_stream_error
WHERE principal_id = :principal_id AND key = :key AND line >= :from_line
ORDER BY line
LIMIT :limit;
