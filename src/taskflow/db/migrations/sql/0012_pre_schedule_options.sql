-- More of what a schedule says of its jobs. Null: no callback, no key, no expiry; code that does not know them stores that.
ALTER TABLE taskflow.schedule
    ADD COLUMN callback_url text,
    ADD COLUMN unique_key text,
    ADD COLUMN unique_scope text,
    ADD COLUMN unique_window_ms bigint,
    ADD COLUMN ttl_ms bigint;
