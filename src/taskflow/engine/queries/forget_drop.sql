-- A chosen partition is gone, or is kept after all. Locks: the row.
DELETE FROM taskflow.partition_drop WHERE name = :name::text;
