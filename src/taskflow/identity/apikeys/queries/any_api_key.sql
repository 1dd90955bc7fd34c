-- Say whether there is any key, of any namespace. Locks: none.
SELECT EXISTS (SELECT FROM taskflow.api_key);
