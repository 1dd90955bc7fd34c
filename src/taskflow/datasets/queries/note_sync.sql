-- Write down that a dataset was read, and its next version if that changed a row. Returns the version.
-- Lock: its row, which the caller holds. Index: dataset's primary key.
UPDATE taskflow.dataset
SET source = :source::jsonb,
    etag = :etag::text,
    last_modified = :last_modified::text,
    version = version + CASE WHEN :is_changed::boolean THEN 1 ELSE 0 END,
    row_count = :row_count::integer,
    synced_at = statement_timestamp(),
    changed_at = CASE WHEN :is_changed::boolean THEN statement_timestamp() ELSE changed_at END
WHERE namespace = :namespace::uuid AND name = :name::text
RETURNING version;
