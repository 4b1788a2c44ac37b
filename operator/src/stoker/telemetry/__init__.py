"""Adapter to numbers: what frontends and engines report, and what the operator reports itself."""
