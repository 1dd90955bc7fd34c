"""PostgreSQL: the pool, queries in files, LISTEN, migrations, and the embedded server."""
