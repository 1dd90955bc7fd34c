-- Deliveries: what is told to whom when a job with a callback has ended, and what the receivers answered.

-- One row per end of a job that has a callback_url, written by taskflow.settle in the transaction that ended it.
-- id is also the id of the engine's job that makes the delivery: its attempts, waits and retries are that job's.
-- error is what the job failed of; its result is read when it is sent. settled_at is when the delivery ended.
CREATE TABLE taskflow.webhook_delivery (
    id uuid PRIMARY KEY,
    namespace uuid NOT NULL,
    job_id uuid NOT NULL,
    kind text NOT NULL,
    event text NOT NULL CHECK (event IN ('job.completed', 'job.failed', 'job.cancelled')),
    error text,
    ended_at timestamptz NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    created_at timestamptz NOT NULL,
    settled_at timestamptz
);
CREATE UNIQUE INDEX webhook_delivery_end ON taskflow.webhook_delivery (job_id, ended_at);
CREATE INDEX webhook_delivery_list ON taskflow.webhook_delivery (namespace, id);
CREATE INDEX webhook_delivery_status ON taskflow.webhook_delivery (namespace, status, id);

-- What a receiver answered, or why it did not. A worker killed before it wrote this leaves no row for its attempt:
-- the attempt itself is in the engine's history.
CREATE TABLE taskflow.webhook_response (
    delivery_id uuid NOT NULL,
    attempt integer NOT NULL,
    at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    status smallint,
    excerpt text,
    fault text,
    PRIMARY KEY (delivery_id, attempt)
);
