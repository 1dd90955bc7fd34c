-- Delete up to :limit deliveries that were made before :floor, an id, and have ended, with what receivers answered.
-- Locks: those rows; rows that others hold are skipped. Indexes: the primary keys of webhook_delivery and
-- webhook_response.
WITH old AS MATERIALIZED (
    SELECT v.id FROM taskflow.webhook_delivery v
    WHERE v.id < :floor AND v.status <> 'pending'
    ORDER BY v.id
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), responses AS (
    DELETE FROM taskflow.webhook_response r WHERE r.delivery_id = ANY(ARRAY(SELECT o.id FROM old o))
)
DELETE FROM taskflow.webhook_delivery v WHERE v.id = ANY(ARRAY(SELECT o.id FROM old o));
