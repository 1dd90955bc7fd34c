"""Datasets: rows that the kind `sync` keeps of URLs, and how they look."""
