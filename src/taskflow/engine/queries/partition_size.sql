-- Bytes of a table with its indexes; NULL if it is not there. Locks: none.
SELECT pg_total_relation_size(to_regclass(format('taskflow.%I', :name::text)));
