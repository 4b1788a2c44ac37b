"""Typed values → manifests. Total, pure, golden-tested: same input, same bytes, nothing mutated."""
