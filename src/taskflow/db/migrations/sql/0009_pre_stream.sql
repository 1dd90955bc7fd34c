-- How far streams of submits have come, so that one that broke off can go on.

-- One row per stream that carries an Idempotency-Key, moved on in the transaction that stores its lines: lines up to
-- last_line are stored or refused for good, later ones are not. touched_at is in no index, so that a move is a HOT update.
CREATE TABLE taskflow.submit_stream (
    principal_id uuid NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    namespace uuid NOT NULL,
    last_line bigint NOT NULL,
    accepted bigint NOT NULL,
    rejected bigint NOT NULL,
    created_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    PRIMARY KEY (principal_id, key)
) WITH (fillfactor = 50);
CREATE INDEX submit_stream_age ON taskflow.submit_stream (created_at);

-- What was wrong with lines that were refused, for the client that lost the answer; as many per stream as one answer
-- tells.
CREATE TABLE taskflow.submit_stream_error (
    principal_id uuid NOT NULL,
    key text NOT NULL,
    line bigint NOT NULL,
    errors jsonb NOT NULL,
    PRIMARY KEY (principal_id, key, line)
);
