-- Who led last and until when; the holder leads while expires_in_s is above 0. Index: the primary key.
SELECT
    holder, term,
    extract(epoch FROM coalesce(:now::timestamptz, now()) - elected_at)::double precision AS held_s,
    extract(epoch FROM expires_at - coalesce(:now::timestamptz, now()))::double precision AS expires_in_s
FROM taskflow.leader
WHERE name = :name;
