-- Files: what they are in one table, what is in them in another.
--
-- A file and all of its chunks are written in one transaction and deleted in one, so there is no half of a file. The
-- chunks belong to the blob store (adapters/blobs.py): a store elsewhere would leave that table empty.

-- job_id names the job that made the file. An attempt that runs again and makes the same bytes gets the file that is
-- there: file_made.
CREATE TABLE taskflow.file (
    id uuid PRIMARY KEY,
    namespace uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    size bigint NOT NULL CHECK (size >= 0),
    type text NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    job_id uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
CREATE INDEX file_list ON taskflow.file (namespace, id DESC);
CREATE INDEX file_expiry ON taskflow.file (expires_at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX file_made ON taskflow.file (job_id, sha256) WHERE job_id IS NOT NULL;

-- Chunks of 256 KiB, numbered from 0; all but the last are full. EXTERNAL: images and archives do not shrink, and the
-- time to try is more than the disk is worth.
CREATE TABLE taskflow.file_chunk (
    file_id uuid NOT NULL,
    number integer NOT NULL,
    content bytea NOT NULL CHECK (length(content) BETWEEN 1 AND 262144),
    PRIMARY KEY (file_id, number)
);
ALTER TABLE taskflow.file_chunk ALTER COLUMN content SET STORAGE EXTERNAL;
