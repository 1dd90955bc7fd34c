"""The HTTP toolkit: problems, bodies, cursors, idempotency keys, the edge. It knows no resource."""
