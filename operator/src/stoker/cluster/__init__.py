"""Adapter to Kubernetes: the only importer of its client, the only writer to its API server."""
