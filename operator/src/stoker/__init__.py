"""Stoker: a Kubernetes operator that deploys optimized LLM inference replicas."""
