-- Say that a delivery is to be made again, in the transaction that makes its job ready. Lock: the row.
-- Index: webhook_delivery's primary key.
UPDATE taskflow.webhook_delivery SET status = 'pending', settled_at = NULL
WHERE id = :id::uuid;
