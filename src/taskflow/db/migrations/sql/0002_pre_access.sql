-- Who may ask (API keys), and what was asked before (idempotency keys).

-- Only the SHA-256 of a key is kept: what is in here cannot be used to ask for anything.
-- hint is the key's last four characters, so that people can tell their keys apart.
CREATE TABLE taskflow.api_key (
    id uuid PRIMARY KEY,
    namespace uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    hint text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX api_key_hash ON taskflow.api_key (hash);
CREATE INDEX api_key_list ON taskflow.api_key (namespace, id DESC);

-- One row per answered write that carried an Idempotency-Key, written in the write's own transaction: the row is there
-- if and only if the write is. fingerprint is the SHA-256 of method, path and body. status is null only inside that
-- transaction.
CREATE TABLE taskflow.idempotency_key (
    principal_id uuid NOT NULL,
    route text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    namespace uuid NOT NULL,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    created_at timestamptz NOT NULL,
    status smallint,
    headers jsonb,
    body bytea,
    PRIMARY KEY (principal_id, route, key)
);
CREATE INDEX idempotency_key_age ON taskflow.idempotency_key (created_at);
