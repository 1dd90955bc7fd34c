-- Datasets: what the kind `sync` keeps of a URL.

-- source is what the rows were read with (URL, format, key, path, delimiter): only for the same one do etag and
-- last_modified say anything. Locks: whoever changes rows locks the dataset's row first, so that two take turns.
CREATE TABLE taskflow.dataset (
    namespace uuid NOT NULL,
    name text COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    source jsonb,
    etag text,
    last_modified text,
    version bigint NOT NULL,
    row_count integer NOT NULL,
    created_at timestamptz NOT NULL,
    synced_at timestamptz,
    changed_at timestamptz,
    PRIMARY KEY (namespace, name)
);

CREATE TABLE taskflow.dataset_row (
    namespace uuid NOT NULL,
    dataset text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    row jsonb NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 16),
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (namespace, dataset, key)
);
