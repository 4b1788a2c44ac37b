"""What the cache of models costs, and what it withstands."""
