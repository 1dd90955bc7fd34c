-- Daily partitions from yesterday to :days ahead. Locks: SHARE UPDATE EXCLUSIVE on the parents.
SELECT taskflow.make_partitions((coalesce(:now::timestamptz, now()) AT TIME ZONE 'UTC')::date - 1, :days::integer + 2);
