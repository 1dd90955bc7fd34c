-- Keep what was wrong with refused lines, in the transaction that moves the stream past them. Locks: the new rows.
INSERT INTO taskflow.submit_stream_error (principal_id, key, line, errors)
SELECT :principal_id, :key, e.line, e.errors::jsonb
FROM unnest(:lines::bigint[], :errors::text[]) AS e(line, errors);
