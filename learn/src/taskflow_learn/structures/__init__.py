"""The data structures, which know nothing of tasks or servers."""
