-- Write down what one attempt of a delivery met; said twice, the first stays. Lock: the new row. Index: the primary key.
INSERT INTO taskflow.webhook_response (delivery_id, attempt, at, duration_ms, status, excerpt, fault)
VALUES (
    :delivery_id::uuid, :attempt::integer, statement_timestamp(), :duration_ms::integer, :status::smallint,
    :excerpt::text, :fault::text
)
ON CONFLICT (delivery_id, attempt) DO NOTHING;
