"""Measures the engine on real parts: an embedded PostgreSQL that syncs, one worker process. See `method.md`."""
