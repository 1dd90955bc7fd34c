-- Say whether there is any key, of any namespace. Locks: none. Index: the primary key.
SELECT EXISTS (SELECT FROM taskflow.api_key);
